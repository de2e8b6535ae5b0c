//! Room in memory for what grows with the caller's data. It is requested before anything is changed and
//! refused with an error if there is none, since an ordinary allocation would end the process. O(1).

use std::mem::size_of;

use crate::error::{Error, Result};

/// Makes room for `more` further items.
#[inline]
pub(crate) fn room<T>(items: &mut Vec<T>, more: usize) -> Result<()> {
    if items.capacity() - items.len() >= more || items.try_reserve(more).is_ok() {
        return Ok(());
    }
    // Growth that makes later pushes cheap may request twice as much.
    items.try_reserve_exact(more).map_err(|_| no_memory::<T>(more))
}

/// An empty list with room for this many items.
pub(crate) fn with_room<T>(items: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(items).map_err(|_| no_memory::<T>(items))?;
    Ok(list)
}

/// A copy of a slice.
pub(crate) fn copy_of<T: Copy>(items: &[T]) -> Result<Vec<T>> {
    let mut copy = with_room(items.len())?;
    copy.extend_from_slice(items);
    Ok(copy)
}

/// A list of this many copies of an item.
pub(crate) fn filled<T: Clone>(item: T, items: usize) -> Result<Vec<T>> {
    let mut list = with_room(items)?;
    list.resize(items, item);
    Ok(list)
}

/// If this succeeds, ordinary allocations of this many bytes in total can succeed a moment later.
pub(crate) fn probe(bytes: usize) -> Result<()> {
    with_room::<u8>(bytes).map(drop)
}

#[cold]
pub(crate) fn no_memory<T>(items: usize) -> Error {
    Error::OutOfMemory { bytes: items.saturating_mul(size_of::<T>()) as u64 }
}

#[cfg(test)]
mod tests {
    use super::{copy_of, filled, probe, room, with_room};
    use crate::error::Error;

    #[test]
    fn more_than_memory_can_hold_is_refused() {
        let mut list = vec![1_u64];
        let refused = |outcome: Result<(), Error>| matches!(outcome, Err(Error::OutOfMemory { .. }));
        assert!(refused(room(&mut list, usize::MAX / 16)) && list == [1]);
        assert!(refused(room(&mut list, usize::MAX)));
        assert!(refused(with_room::<u64>(usize::MAX / 16).map(drop)));
        assert!(refused(filled(0_u8, usize::MAX).map(drop)));
        assert!(refused(probe(usize::MAX / 2)));
        room(&mut list, 1).expect("a word");
        assert_eq!(copy_of(&list).expect("a word"), [1]);
    }
}
