//! The layered design: an index over high words, and below a high word that several keys share another over their low
//! words, as Masstree layers its trees. Made of the public calls of [`Alex<i64>`](Alex). Where few keys share a word, the second layer is a list.

use alex_index::Alex;

/// Set in a payload of the first layer that is the number of a second layer, not of an entry.
const SHARED: u64 = 1 << 63;

/// The most keys of a second layer that is a sorted list: an index of its own takes an arena of its own.
const FEW: usize = 64;

/// The keys that share a high word: low words and payloads.
enum Second {
    Few(Vec<(i64, u64)>),
    Many(Box<Alex>),
}

impl Second {
    /// Of ascending pairs.
    fn of(pairs: Vec<(i64, u64)>) -> Self {
        if pairs.len() <= FEW {
            return Self::Few(pairs);
        }
        let (keys, payloads): (Vec<i64>, Vec<u64>) = pairs.into_iter().unzip();
        Self::Many(Box::new(Alex::from_sorted(&keys, &payloads).expect("the pairs ascend")))
    }

    fn insert(&mut self, low: i64, payload: u64) {
        match self {
            Self::Many(below) => {
                below.insert(low, payload);
            }
            Self::Few(pairs) => {
                let at = pairs.partition_point(|pair| pair.0 < low);
                pairs.insert(at, (low, payload));
                if pairs.len() > FEW {
                    *self = Self::of(std::mem::take(pairs));
                }
            }
        }
    }

    fn get(&self, low: i64) -> Option<u64> {
        match self {
            Self::Many(below) => below.get(low),
            Self::Few(pairs) => pairs.binary_search_by_key(&low, |pair| pair.0).ok().map(|at| pairs[at].1),
        }
    }

    fn nbytes(&self) -> usize {
        match self {
            Self::Many(below) => below.nbytes(),
            Self::Few(pairs) => pairs.capacity() * size_of::<(i64, u64)>(),
        }
    }
}

pub(crate) struct Layered {
    first: Alex,
    /// Low word and payload of the keys whose high word no other key has. Places of keys that have moved to a second layer
    /// stay unused.
    alone: Vec<(i64, u64)>,
    second: Vec<Second>,
}

/// The two words of a key. Both are in the order of signed integers.
fn words(key: i128) -> (i64, i64) {
    ((key >> 64) as i64, (key as i64) ^ i64::MIN)
}

impl Layered {
    pub(crate) fn new() -> Self {
        Self { first: Alex::new(), alone: Vec::new(), second: Vec::new() }
    }

    /// Ascending keys, each run of equal high words at once.
    pub(crate) fn load(keys: &[i128], payloads: &[u64]) -> Self {
        let mut layered = Self::new();
        let (mut high, mut tags) = (Vec::new(), Vec::new());
        let mut at = 0;
        for run in keys.chunk_by(|a, b| a >> 64 == b >> 64) {
            let payloads = &payloads[at..at + run.len()];
            high.push(words(run[0]).0);
            if let [only] = run {
                tags.push(layered.alone.len() as u64);
                layered.alone.push((words(*only).1, payloads[0]));
            } else {
                let pairs = run.iter().zip(payloads).map(|(&key, &payload)| (words(key).1, payload));
                tags.push(SHARED | layered.second.len() as u64);
                layered.second.push(Second::of(pairs.collect()));
            }
            at += run.len();
        }
        layered.first = Alex::from_sorted(&high, &tags).expect("the keys ascend");
        layered
    }

    pub(crate) fn insert(&mut self, key: i128, payload: u64) {
        let (high, low) = words(key);
        match self.first.get(high) {
            None => {
                self.first.insert(high, self.alone.len() as u64);
                self.alone.push((low, payload));
            }
            Some(tag) if tag & SHARED != 0 => {
                self.second[(tag & !SHARED) as usize].insert(low, payload);
            }
            Some(tag) if self.alone[tag as usize].0 == low => self.alone[tag as usize].1 = payload,
            Some(tag) => {
                let mut pairs = vec![self.alone[tag as usize], (low, payload)];
                pairs.sort_unstable();
                self.first.insert(high, SHARED | self.second.len() as u64);
                self.second.push(Second::of(pairs));
            }
        }
    }

    /// Inserts in order of keys, run by run.
    pub(crate) fn insert_many(&mut self, keys: &[i128], payloads: &[u64]) {
        let mut pairs: Vec<(i128, u64)> = keys.iter().copied().zip(payloads.iter().copied()).collect();
        pairs.sort_unstable();
        let highs: Vec<i64> = pairs.iter().map(|&(key, _)| words(key).0).collect();
        let mut tags = vec![None; pairs.len()];
        self.first.get_many(&highs, |at, tag| tags[at] = tag);
        let (mut new, mut numbers) = (Vec::new(), Vec::new());
        let mut at = 0;
        for run in pairs.chunk_by(|a, b| a.0 >> 64 == b.0 >> 64) {
            match tags[at] {
                Some(tag) if tag & SHARED != 0 => {
                    let second = &mut self.second[(tag & !SHARED) as usize];
                    if let Second::Many(below) = second {
                        let (low, payloads): (Vec<i64>, Vec<u64>) =
                            run.iter().map(|&(key, payload)| (words(key).1, payload)).unzip();
                        below.insert_many(&low, &payloads, |_, _| {});
                    } else {
                        for &(key, payload) in run {
                            second.insert(words(key).1, payload);
                        }
                    }
                }
                None if run.len() == 1 => {
                    new.push(highs[at]);
                    numbers.push(self.alone.len() as u64);
                    self.alone.push((words(run[0].0).1, run[0].1));
                }
                _ => {
                    for &(key, payload) in run {
                        self.insert(key, payload);
                    }
                }
            }
            at += run.len();
        }
        self.first.insert_many(&new, &numbers, |_, _| {});
    }

    pub(crate) fn get(&self, key: i128) -> Option<u64> {
        let (high, low) = words(key);
        self.below(self.first.get(high)?, low)
    }

    pub(crate) fn get_many(&self, keys: &[i128], mut visit: impl FnMut(usize, Option<u64>)) {
        let highs: Vec<i64> = keys.iter().map(|&key| words(key).0).collect();
        let mut tags = vec![None; keys.len()];
        self.first.get_many(&highs, |at, tag| tags[at] = tag);
        for (at, &tag) in tags.iter().enumerate() {
            visit(at, tag.and_then(|tag| self.below(tag, words(keys[at]).1)));
        }
    }

    fn below(&self, tag: u64, low: i64) -> Option<u64> {
        if tag & SHARED != 0 {
            return self.second[(tag & !SHARED) as usize].get(low);
        }
        let (other, payload) = self.alone[tag as usize];
        (other == low).then_some(payload)
    }

    pub(crate) fn nbytes(&self) -> usize {
        let second: usize = self.second.iter().map(|second| second.nbytes() + size_of::<Second>()).sum();
        self.first.nbytes() + self.alone.len() * size_of::<(i64, u64)>() + second
    }
}
