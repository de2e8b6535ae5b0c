// Tables sorted by a click on a heading: the two jQuery methods and the event that asv's pages use of Stupid Table.
//   table.stupidtable(comparisons)   a heading with data-sort="KIND" sorts its column; KIND is float, string or one
//                                    of `comparisons`, which maps kinds to functions of two cells' values
//   heading.stupidsort(direction)    sorts now, "asc" or "desc"
//   aftertablesort                   comes to the table once sorted, with {column, direction}
// A cell's value is its data-sort-value, else its text. The sort is stable.
(($) => {
  const KINDS = {
    float: (a, b) => parseFloat(a) - parseFloat(b),
    string: (a, b) => a.toString().localeCompare(b.toString()),
  };

  $.fn.stupidtable = function (comparisons) {
    return this.each(function () {
      $(this)
        .data("comparisons", { ...KINDS, ...comparisons })
        .on("click", "thead th[data-sort]", function () {
          const heading = $(this);
          heading.stupidsort(heading.data("direction") === "asc" ? "desc" : "asc");
        });
    });
  };

  $.fn.stupidsort = function (direction) {
    const table = this.closest("table");
    const column = this.index();
    const compare = table.data("comparisons")[this.data("sort")];
    const sign = direction === "desc" ? -1 : 1;
    const value = (row) => {
      const cell = $(row).children().eq(column);
      return cell.data("sort-value") ?? cell.text();
    };
    // Once the caller is done, as asv puts the table into the page after asking for its first order.
    setTimeout(() => {
      const rows = table.children("tbody").children("tr").toArray();
      const keyed = rows.map((row) => ({ row, key: value(row) }));
      keyed.sort((a, b) => sign * compare(a.key, b.key));
      table.children("tbody").append(keyed.map(({ row }) => row));
      table.find("thead th").removeData("direction");
      this.data("direction", direction);
      table.trigger("aftertablesort", { column, direction });
    });
    return this;
  };
})(jQuery);
