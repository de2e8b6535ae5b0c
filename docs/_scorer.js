// What a search shows first: pages for users, and of the reference what most programs use.
var asked = (new URLSearchParams(location.search).get("q") || "").trim().toLowerCase();
var Scorer = {
  score: ([page, title, , , score]) => {
    if (/^docs\/(quickstart|which-store|troubleshooting|processes|safety)/.test(page)) return score + 12;
    // These say much the same as each other: first only where the title has what is looked for, as in "From LMDB".
    if (/^docs\/migrating/.test(page)) return score + (title.toLowerCase().split(" > ")[0].includes(asked) ? 13 : 3);
    if (/^docs\/(dev|measurements|performance|index-performance|ARCHITECTURE)|^benchmarks|^[A-Z]/.test(page)) return score - 12;
    if (/^alexpy\.Store\./.test(title)) return score + 4;
    if (/^docs\/reference\/(aio|rocks|sharded)/.test(page)) return score - 4;
    return score;
  },
  // As Sphinx has them.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
