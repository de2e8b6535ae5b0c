"""The options of a store: one frozen dataclass, and how it is read from a file or from the environment.

Holds names, defaults, the meaning and the check of each value; `help()` of `Config` and of what takes options
is made of these. Knows nothing of what the engine does with them.
"""

from __future__ import annotations

import inspect
import operator
import os
from dataclasses import dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar, get_args

from ._integers import shown
from ._options import check_names, described, naming, nearest, option, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Durability: TypeAlias = Literal["sync", "interval", "os"]
WriteMode: TypeAlias = Literal["auto", "mmap", "pwrite"]
ReadMode: TypeAlias = Literal["mmap", "pread"]
Recovery: TypeAlias = Literal["strict", "point_in_time"]
Integers: TypeAlias = Literal["int64", "uint64"]
Moments: TypeAlias = Literal["datetime64[s]", "datetime64[ms]", "datetime64[us]", "datetime64[ns]"]

_ENV_PREFIX = "ALEXPY_"
# Variables with the prefix that are not fields: the SIMD backend belongs to the process, and the others set
# how much work the project's own tests do.
_ENV_NOT_FIELDS = frozenset(
    {
        "ALEXPY_SIMD",
        "ALEXPY_BITS",
        "ALEXPY_FOLLOW_SECONDS",
        "ALEXPY_FUZZ_SECONDS",
        "ALEXPY_FUZZ_SEED",
        "ALEXPY_KILLS",
        "ALEXPY_KILL_SEED",
        "ALEXPY_GROWTH_SECONDS",
        "ALEXPY_IMAGE_SEEDS",
        "ALEXPY_LIMIT_SEEDS",
        "ALEXPY_PROGRAM_SECONDS",
        "ALEXPY_SEED",
        "ALEXPY_SEEDS",
    }
)

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "durability": get_args(Durability),
    "write_mode": get_args(WriteMode),
    "read_mode": get_args(ReadMode),
    "recovery": get_args(Recovery),
}
# Both ends included. A location counts 8-byte units in 32 bits, which bounds a segment at 32 GiB.
_RANGES: Mapping[str, tuple[int, int]] = {
    "sync_interval_ms": (1, 86_400_000),
    "segment_bytes": (4096, 2**35),
    "compact_bytes_per_second": (1, 2**63 - 1),
    "checkpoint_tail_bytes": (1, 2**63 - 1),
}
_SWITCHES = frozenset({"verify_reads", "background"})
_SWITCH_WORDS: Mapping[str, bool] = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


_Function = TypeVar("_Function", bound="Callable[..., object]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of `alexpy.open`, checked when the object is made; O(1).

    Each can be given to `alexpy.open` as a keyword of the same name, which then overrides the config.
    There is no cache size and no map size: the page cache of the operating system serves reads.

    Raises:
        TypeError: there is no option of that name.
        ValueError: a value is impossible; the message says what is allowed.

    Example:
        >>> from alexpy import Config
        >>> Config(durability="sync").durability
        'sync'
        >>> Config(sync_interval_ms=0)
        Traceback (most recent call last):
        ...
        ValueError: sync_interval_ms must be an integer from 1 to 86400000, not 0

    """

    durability: Durability = option(
        "interval",
        """
        What a returned write survives. "sync": a power cut. "interval": a process kill, and a power cut after
        the next timed flush. "os": a process kill.
        """,
    )
    sync_interval_ms: int = option(50, 'Milliseconds between timed flushes, for `durability="interval"`.')
    segment_bytes: int = option(64 << 20, "Bytes of disk reserved for one file of the log.")
    write_mode: WriteMode = option(
        "auto",
        """
        How commits reach the log. "mmap" copies those below 8 KiB into a mapped file, "pwrite" makes a system
        call for each, "auto" chooses.
        """,
    )
    read_mode: ReadMode = option(
        "mmap",
        """
        How values are read. "mmap" is fastest, but a device read error ends the process (SIGBUS); "pread"
        raises OSError.
        """,
    )
    verify_reads: bool = option(True, "Check the checksum of every value read.")  # noqa: FBT003 - its default
    compact_dead_ratio: float = option(
        0.30,
        """
        Compaction starts in the background when more than this share of the bytes in full files is dead, and
        goes on until it is half of that.
        """,
    )
    compact_bytes_per_second: int = option(
        64 << 20, "Most bytes per second that compaction reads and writes in the background."
    )
    background: bool = option(
        True,  # noqa: FBT003 - its default
        """
        Run the background threads that flush on time, prepare log files ahead of need and compact. Without
        them, the first write after the interval makes the timed flush, and compaction is left to calls of
        `compact()`.
        """,
    )
    checkpoint_tail_bytes: int = option(
        64 << 20,
        """
        The most bytes of log that an opening replays, or the bytes of the last image if that is more: a
        checkpoint begins when half of it is written, or somewhat later.
        """,
    )
    recovery: Recovery = option(
        "strict",
        """
        What opening does if acknowledged data is damaged: "strict" refuses and names the place,
        "point_in_time" opens with everything before the damage.
        """,
    )

    def __post_init__(self) -> None:
        """Refuse impossible values, and convert numbers to plain `int` and `float`."""
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if not (isinstance(value, str) and value in allowed):
                words = " or ".join(f'"{word}"' for word in allowed)
                raise ValueError(f"{name} must be {words}, not {shown(value)}")
        for name in _SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, not {shown(value)}")  # noqa: TRY004 - see Raises
        for name, (least, most) in _RANGES.items():
            object.__setattr__(self, name, _checked_int(name, getattr(self, name), least, most))
        ratio = self.compact_dead_ratio
        # Written so that NaN fails the comparison.
        real = isinstance(ratio, Real) and not isinstance(ratio, bool) and 0 < ratio < 1
        # A fraction may be nearer to an end than any float.
        if not (real and 0.0 < float(ratio) < 1.0):
            raise ValueError(f"compact_dead_ratio must be a number between 0 and 1, not {shown(ratio)}")
        object.__setattr__(self, "compact_dead_ratio", float(ratio))

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Config:
        """Read the fields that the top level of a TOML file sets; the others keep their defaults.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not TOML, or has an unknown name or an impossible value.

        Example:
            >>> import pathlib, tempfile
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "store.toml"
            >>> _ = path.write_text('durability = "sync"')
            >>> Config.from_toml(path).durability
            'sync'

        """
        import tomllib  # noqa: PLC0415 - nobody else needs it

        try:
            values = tomllib.loads(Path(path).read_bytes().decode())
            return cls().with_options(values)
        except ValueError as error:
            # TOML errors and invalid UTF-8 are ValueErrors too.
            raise ValueError(f"{os.fspath(path)}: {error}") from error

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read ALEXPY_DURABILITY, ALEXPY_SEGMENT_BYTES and so on from the environment, one variable a field.

        ALEXPY_SIMD is not a field and is left alone. A switch is 1 or 0, true or false, yes or no, on or off.

        Raises:
            ValueError: a variable that begins with ALEXPY_ names no field, or its value is impossible.

        Example:
            >>> Config.from_env({"ALEXPY_DURABILITY": "os", "HOME": "/home/ann"}).durability
            'os'

        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for variable in sorted(environ):
            if not variable.startswith(_ENV_PREFIX) or variable in _ENV_NOT_FIELDS:
                continue
            name = variable.removeprefix(_ENV_PREFIX).lower()
            if name not in _NAMES or variable != variable.upper():
                known = ", ".join(_ENV_PREFIX + field.upper() for field in _NAMES)
                raise ValueError(f"{variable} is set, which alexpy does not know; it knows {known}")
            try:
                values[name] = _from_text(name, environ[variable])
                replace(cls(), **{name: values[name]})
            except ValueError as error:
                raise ValueError(f"environment variable {variable}: {error}") from error
        return replace(cls(), **values)

    def with_options(self, options: Mapping[str, Any]) -> Config:
        """Return a copy in which `options` override fields; O(1).

        Raises:
            ValueError: an option names no field, or its value is impossible.

        Example:
            >>> Config().with_options({"durability": "os"}).durability
            'os'

        """
        for name in options:
            if name not in _NAMES:
                raise ValueError(f"there is no option {shown(name)}; {nearest(str(name), _NAMES)}")
        return replace(self, **options)


class Options(TypedDict, total=False):
    """The fields of `Config` as keywords, for type checkers; a test compares the two."""

    durability: Durability
    sync_interval_ms: int
    segment_bytes: int
    write_mode: WriteMode
    read_mode: ReadMode
    verify_reads: bool
    compact_dead_ratio: float
    compact_bytes_per_second: int
    background: bool
    checkpoint_tail_bytes: int
    recovery: Recovery


def takes_options(function: _Function) -> _Function:
    """Show the options in the signature and the docstring of a function with `**options: Unpack[Options]`."""
    signature = inspect.signature(function)
    parameters = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    parameters += inspect.signature(Config).parameters.values()
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    tell(function, _DESCRIBED)
    return function


def chosen(config: Config | None, options: Options, function: Callable[..., object]) -> Config:
    """Return the config that `function` was called with: `options` override the fields of `config`.

    Raises:
        TypeError: `config` is no Config, or an option is none of the keywords that `function` takes.
        ValueError: the value of an option is impossible.

    """
    if options:
        parameters = inspect.signature(function).parameters.values()
        names = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
        check_names(function.__name__, options, names)
    if config is None:
        config = Config()
    elif not isinstance(config, Config):
        kind = type(config).__name__
        raise TypeError(f"config is a {kind}, not an alexpy.Config; single options are keywords of their own")
    return config.with_options(options)


def _allowed(name: str) -> str:
    if name in _CHOICES:
        return " or ".join(f'"{word}"' for word in _CHOICES[name])
    if name in _RANGES:
        least, most = _RANGES[name]
        return f"an integer from {least} to {most}"
    return "True or False" if name in _SWITCHES else "a number between 0 and 1"


_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Config))
_DESCRIBED = described(Config, _allowed)
tell(Config, _DESCRIBED)
naming(Config)


def _checked_int(name: str, value: object, least: int, most: int) -> int:
    allowed = f"{name} must be an integer from {least} to {most}, not {shown(value)}"
    if isinstance(value, bool):
        raise ValueError(allowed)  # noqa: TRY004 - see Config, Raises
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(allowed) from None
    if not least <= number <= most:
        raise ValueError(allowed)
    return number


def _from_text(name: str, text: str) -> object:
    """Convert the text of an environment variable to the type of its field."""
    if name in _SWITCHES:
        if text.lower() not in _SWITCH_WORDS:
            raise ValueError(f"{name} must be one of {', '.join(_SWITCH_WORDS)}, not {text!r}")
        return _SWITCH_WORDS[text.lower()]
    if name in _RANGES:
        try:
            return int(text)
        except ValueError:
            least, most = _RANGES[name]
            raise ValueError(f"{name} must be an integer from {least} to {most}, not {text!r}") from None
    if name == "compact_dead_ratio":
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{name} must be a number between 0 and 1, not {text!r}") from None
    return text
