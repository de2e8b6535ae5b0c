"""Questions a person would ask about the flights: the store answers, and apart from it the CSV file."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flights import Flight, airlines, describe, minute_key
from show import Checks, duration, say, stopwatch

if TYPE_CHECKING:
    import alexpy

DAY = timedelta(days=1)
INDEPENDENCE_DAY = datetime(2013, 7, 4)  # noqa: DTZ001
CHRISTMAS = datetime(2013, 12, 25)  # noqa: DTZ001
THANKSGIVING_EVE = datetime(2013, 11, 27)  # noqa: DTZ001
BLIZZARD = datetime(2013, 2, 8)  # noqa: DTZ001


def ask_all(store: alexpy.Store, flights: list[Flight], checks: Checks) -> None:
    """Ask every question, print the answers, and compare each with the file."""
    Questions(store, flights, checks).ask()


class Questions:
    """The open store, the rows of the file by key, and where the comparisons are counted."""

    def __init__(self, store: alexpy.Store, flights: list[Flight], checks: Checks) -> None:
        self.store = store
        self.flights = sorted(flights, key=lambda flight: flight.key)
        self.checks = checks
        self.names = airlines()

    def ask(self) -> None:
        """Ask point, neighbour and range questions."""
        self.point()
        self.last_before()
        self.first_after()
        self.christmas()
        self.busiest_airline()
        self.worst_delay()
        self.last_of_the_year()
        self.every_row()

    def point(self) -> None:
        """One key: the 200,000th row of the file."""
        flight = next(flight for flight in self.flights if flight.key & 0xFFFFF == 199_999)  # noqa: PLR2004
        with stopwatch() as seconds:
            value = self.store[flight.key]
        self._answer(
            f"Which flight has the key {flight.key}?",
            "store[key]",
            seconds[0],
            describe(value, self.names),
            value,
            flight.row_json,
        )

    def last_before(self) -> None:
        """The key just below a moment."""
        bound = minute_key(INDEPENDENCE_DAY)
        with stopwatch() as seconds:
            found = self.store.lower(bound)
        expected = max(
            (flight for flight in self.flights if flight.scheduled < INDEPENDENCE_DAY),
            key=lambda flight: flight.key,
        )
        self._item(
            "What was the last flight scheduled before midnight of 4 July 2013?",
            "lower",
            seconds,
            found,
            expected,
        )

    def first_after(self) -> None:
        """The key at or above a moment."""
        noon = CHRISTMAS + timedelta(hours=12)
        with stopwatch() as seconds:
            found = self.store.ceiling(minute_key(noon))
        expected = min(
            (flight for flight in self.flights if flight.scheduled >= noon), key=lambda flight: flight.key
        )
        self._item("And the first at noon on Christmas Day, or after?", "ceiling", seconds, found, expected)

    def christmas(self) -> None:
        """A count of a range, without reading a value."""
        with stopwatch() as seconds:
            count = self.store.count(minute_key(CHRISTMAS), minute_key(CHRISTMAS + DAY))
        expected = sum(flight.scheduled.date() == CHRISTMAS.date() for flight in self.flights)
        self._answer(
            "How many flights were scheduled on Christmas Day?",
            "count",
            seconds[0],
            f"{count:,}",
            count,
            expected,
        )

    def busiest_airline(self) -> None:
        """A scan of one day."""
        start, stop = minute_key(THANKSGIVING_EVE), minute_key(THANKSGIVING_EVE + DAY)
        with stopwatch() as seconds:
            rows = [json.loads(value) for value in self.store.scan_values(start, stop)]
        left = Counter(row["carrier"] for row in rows if row["dep_time"] != "NA")
        carrier, flown = left.most_common(1)[0]
        expected = Counter(
            flight.carrier
            for flight in self.flights
            if flight.scheduled.date() == THANKSGIVING_EVE.date() and not flight.cancelled
        )
        self._answer(
            "Which airline flew most on the day before Thanksgiving (27 November)?",
            "scan of one day",
            seconds[0],
            f"{self.names[carrier]}, {flown} of {sum(left.values())} flights",
            left,
            expected,
        )

    def worst_delay(self) -> None:
        """A scan of two days, with what never left counted too."""
        end = BLIZZARD + 2 * DAY
        cancelled, worst = 0, 0
        with stopwatch() as seconds:
            for _, value in self.store.scan(minute_key(BLIZZARD), minute_key(end)):
                row = json.loads(value)
                cancelled += row["dep_time"] == "NA"
                worst = max(worst, 0 if row["dep_delay"] == "NA" else int(row["dep_delay"]))
        both = [flight for flight in self.flights if BLIZZARD <= flight.scheduled < end]
        self._answer(
            "What did the blizzard of 8 and 9 February do?",
            "scan of two days",
            seconds[0],
            f"{cancelled:,} of {len(both):,} flights cancelled, the longest delay {worst} minutes",
            (cancelled, worst),
            (sum(flight.cancelled for flight in both), max(flight.departure_delay or 0 for flight in both)),
        )

    def last_of_the_year(self) -> None:
        """A scan downward with a limit."""
        with stopwatch() as seconds:
            found = list(self.store.scan(reverse=True, limit=3))
        expected = [(flight.key, flight.row_json) for flight in self.flights[-1:-4:-1]]
        self._answer(
            "Which were the last three flights of the year?",
            "scan(reverse=True, limit=3)",
            seconds[0],
            "\n".join(describe(value, self.names) for _, value in found),
            found,
            expected,
        )

    def every_row(self) -> None:
        """All keys in one batch call."""
        keys = [flight.key for flight in self.flights]
        with stopwatch() as seconds:
            values = self.store.get_many(keys)
        self._answer(
            "Did every row come back as it was?",
            "get_many of all keys",
            seconds[0],
            f"{len(values):,} rows, byte for byte",
            values,
            [flight.row_json for flight in self.flights],
        )

    def _item(
        self,
        question: str,
        call: str,
        seconds: list[float],
        found: tuple[int, bytes] | None,
        expected: Flight,
    ) -> None:
        answer = "none" if found is None else describe(found[1], self.names)
        self._answer(question, call, seconds[0], answer, found, (expected.key, expected.row_json))

    def _answer(
        self, question: str, call: str, seconds: float, answer: str, got: object, expected: object
    ) -> None:
        right = self.checks.same(question, got, expected)
        print(f"\n{question}")
        for line in answer.splitlines():
            print(f"    {line}")
        verdict = "the CSV file says the same" if right else "THE CSV FILE SAYS OTHERWISE"
        say(f"[{call}, {duration(seconds)}; {verdict}]", indent=4)
