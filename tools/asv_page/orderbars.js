// A Flot plugin: bars of several series over the same categories stand side by side, in the series' order, instead
// of one over another. Must come after Flot's plugin for categories, which turns their names into numbers.
(($) => {
  function sideBySide(plot, series, datapoints) {
    if (!series.bars.show) return;
    const drawn = plot.getData().filter((other) => other.bars.show);
    const shift = (drawn.indexOf(series) - (drawn.length - 1) / 2) * series.bars.barWidth;
    for (let i = 0; i < datapoints.points.length; i += datapoints.pointsize) {
      if (datapoints.points[i] !== null) datapoints.points[i] += shift;
    }
  }
  $.plot.plugins.push({
    init: (plot) => plot.hooks.processDatapoints.push(sideBySide),
    name: "orderBars",
    version: "1.0",
  });
})(jQuery);
