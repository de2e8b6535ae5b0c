//! What keys are to an Arrow library. The one place that chooses the Arrow type of keys and makes such a column of them.

use std::sync::Arc;

use alex_store::{ItemColumns, KeyKind, KeyVec};
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray, UInt64Array, make_array, new_empty_array};
use arrow_buffer::Buffer;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use zerocopy::IntoBytes;

use crate::convert::kinds::{UUID_BYTES, as_u64, uuid_bytes};
use crate::convert::value_type::room;

/// The Arrow type of keys.
pub(crate) fn data_type(kind: KeyKind) -> DataType {
    match kind {
        KeyKind::Int64 => DataType::Int64,
        KeyKind::Uint64 => DataType::UInt64,
        KeyKind::DatetimeS => DataType::Timestamp(TimeUnit::Second, None),
        KeyKind::DatetimeMs => DataType::Timestamp(TimeUnit::Millisecond, None),
        KeyKind::DatetimeUs => DataType::Timestamp(TimeUnit::Microsecond, None),
        KeyKind::DatetimeNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        KeyKind::Uuid => DataType::FixedSizeBinary(UUID_BYTES as i32),
    }
}

/// The keys of some items. `lent` makes a buffer of the memory of int64 keys. O(1) for integers with a sign and moments,
/// O(keys) for others.
pub(crate) fn array(
    items: &Arc<ItemColumns>,
    lent: impl FnOnce(fn(&ItemColumns) -> &[u8]) -> Buffer,
) -> Result<ArrayRef, ArrowError> {
    let keys = &items.keys;
    Ok(match items.kind {
        KeyKind::Uint64 => Arc::new(UInt64Array::from_iter_values(keys.iter().map(as_u64))),
        KeyKind::Uuid => {
            let mut bytes = room(keys.len() * UUID_BYTES)?;
            uuid_bytes(keys, &mut bytes);
            Arc::new(FixedSizeBinaryArray::try_new(UUID_BYTES as i32, Buffer::from_vec(bytes), None)?)
        }
        kind => {
            let memory = lent(|items| match &items.keys {
                KeyVec::Narrow(keys) => keys.as_bytes(),
                KeyVec::Wide(_) => &[],
            });
            let made = new_empty_array(&data_type(kind)).to_data().into_builder();
            make_array(made.len(keys.len()).buffers(vec![memory]).build()?)
        }
    })
}
