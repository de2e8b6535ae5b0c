//! Reads a segment record by record with system calls, in pieces of bounded size, and searches the bytes
//! behind the end of its records. Never reads through a map: if a file is cut short meanwhile, the reader
//! sees an end and the process gets no signal. O(bytes read).

use crate::error::Result;
use crate::format::record::{self, Bad, HEADER_BYTES, Kind, MARK_BYTES, Record};
use crate::log::segment::Segment;
use crate::options::MAX_SEGMENT_BYTES;
use crate::room::room;

/// Bytes read at a time: at first, since there may be only one new record, and at most.
const LEAST_CHUNK_BYTES: usize = 16 << 10;
const CHUNK_BYTES: usize = 1 << 20;

/// In a file with holes, longer records than this are checked before memory is allocated for them.
const SPARSE_FROM: u64 = 16 << 20;

/// What comes next in a segment.
pub(crate) enum Next<'a> {
    /// A valid record and its offset.
    Record(u64, Record<'a>),
    /// No valid record stands at this offset.
    End(u64, Bad),
}

/// Reads forward from one record to the next.
pub(crate) struct SegmentReader<'s> {
    segment: &'s Segment,
    /// Where the next record begins.
    offset: u64,
    /// No record reaches beyond this offset.
    limit: u64,
    chunk: Vec<u8>,
    chunk_start: u64,
    /// How much is read next.
    ahead: usize,
}

impl<'s> SegmentReader<'s> {
    pub(crate) fn new(segment: &'s Segment, offset: u64, limit: u64) -> Self {
        // Locations reach no farther, whatever a forged file holds beyond.
        let limit = limit.min(MAX_SEGMENT_BYTES);
        Self { segment, offset, limit, chunk: Vec::new(), chunk_start: offset, ahead: LEAST_CHUNK_BYTES }
    }

    /// The next valid record, or why there is none; in that case the reader does not move.
    pub(crate) fn next(&mut self) -> Result<Next<'_>> {
        if !self.has(HEADER_BYTES)? {
            return Ok(Next::End(self.offset, Bad::Short(HEADER_BYTES)));
        }
        let size = match record::peek_size(&self.chunk[self.at()..]) {
            Ok(size) => size,
            Err(bad) => return Ok(Next::End(self.offset, bad)),
        };
        if !self.has(size)? {
            return Ok(Next::End(self.offset, Bad::Short(size)));
        }
        let (offset, at) = (self.offset, self.at());
        match record::parse(&self.chunk[at..at + size as usize], self.segment.seal(), offset, true) {
            Ok(record) if record.kind.has_key() && record.width != self.segment.header.key.width() => {
                Ok(Next::End(offset, Bad::Width(record.width)))
            }
            Ok(record) => {
                self.offset += size;
                Ok(Next::Record(offset, record))
            }
            Err(bad) => Ok(Next::End(offset, bad)),
        }
    }

    /// Where the reader looks for the next record.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on at an offset ahead. Bytes already read stay in memory.
    pub(crate) fn go_to(&mut self, offset: u64) {
        self.offset = offset;
        if offset > self.chunk_start + self.chunk.len() as u64 {
            self.chunk.clear();
            self.chunk_start = offset;
        }
    }

    /// Reads the next record for the second time, after replay accepted it with sequence number `expected`. A
    /// checksum covers the sequence number, the place and the segment's salt, so a whole record with that
    /// number at this place is the one that was accepted. If it is no longer there, that is damage and never
    /// an end.
    pub(crate) fn next_again(&mut self, expected: u64) -> Result<(u64, Record<'_>)> {
        let segment = self.segment;
        match self.next()? {
            Next::Record(offset, record) if record.seq == expected => Ok((offset, record)),
            Next::Record(offset, record) => {
                Err(segment.read_otherwise(offset, expected, format!("sequence {}", record.seq)))
            }
            Next::End(offset, bad) => Err(segment.read_otherwise(offset, expected, bad.to_string())),
        }
    }

    /// Whether everything up to the limit was read.
    pub(crate) fn is_at_limit(&self) -> bool {
        self.offset == self.limit
    }

    fn at(&self) -> usize {
        (self.offset - self.chunk_start) as usize
    }

    /// Makes sure that the next `size` bytes are in memory; false if the segment ends before.
    fn has(&mut self, size: u64) -> Result<bool> {
        if self.offset.saturating_add(size) > self.limit {
            return Ok(false);
        }
        if self.offset + size <= self.chunk_start + self.chunk.len() as u64 {
            return Ok(true);
        }
        // A damaged length must not allocate more than the file could hold.
        let len = self.segment.len()?;
        if self.offset.saturating_add(size) > len {
            return Ok(false);
        }
        if size > SPARSE_FROM && !self.is_there(size)? {
            return Ok(false);
        }
        let want = self.ahead.max(size as usize).min((len - self.offset) as usize);
        self.ahead = (2 * self.ahead).min(CHUNK_BYTES);
        // A record may be as long as memory.
        self.chunk.clear();
        room(&mut self.chunk, want)?;
        self.chunk.resize(want, 0);
        self.chunk_start = self.offset;
        let read = self.segment.read_at(self.offset, &mut self.chunk)?;
        self.chunk.truncate(read);
        Ok(read as u64 >= size)
    }
}

impl SegmentReader<'_> {
    /// Whether a long record may be read into memory: its bytes are on the disk, or, if the file has holes,
    /// its checksum is right. A wrong length must not allocate memory for holes.
    fn is_there(&self, size: u64) -> Result<bool> {
        if self.segment.allocated()? >= size {
            return Ok(true);
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut at, mut seal) = (self.offset, None);
        let end = self.offset + size;
        while at < end {
            let want = chunk.len().min((end - at) as usize);
            let read = self.segment.read_at(at, &mut chunk[..want])?;
            if read < want {
                return Ok(false);
            }
            let sealed = seal.get_or_insert_with(|| record::Unsealed::new(self.segment.seal(), at, &chunk));
            sealed.add(&chunk[if at == self.offset { 4 } else { 0 }..want]);
            at += want as u64;
        }
        Ok(seal.is_some_and(|sealed| sealed.is_right()))
    }
}

/// What was found behind an end of records.
pub(crate) struct Beyond {
    /// The highest watermark in any valid mark or footer.
    pub(crate) watermark: u64,
    /// Number of bytes up to the last one that is not zero.
    pub(crate) bytes: u64,
}

/// Searches from `from` on for marks and footers later than `after_seq`. Records behind a hole are normal
/// after a power cut and prove nothing; the watermarks in marks and footers do prove something.
pub(crate) fn watermark_beyond(segment: &Segment, from: u64, after_seq: u64) -> Result<Beyond> {
    let mut beyond = Beyond { watermark: 0, bytes: 0 };
    let mut chunk = vec![0; CHUNK_BYTES + MARK_BYTES as usize];
    // List all pieces before reading the first one: reading may make its neighbours count as data.
    for piece in segment.data_from(from)? {
        // No mark begins with zeros, and all begin at multiples of 8.
        for start in (piece.start & !7..piece.end).step_by(CHUNK_BYTES) {
            // The last bytes of a mark may be zeros beyond the piece.
            let want = (piece.end - start + MARK_BYTES).min(chunk.len() as u64) as usize;
            let read = segment.read_at(start, &mut chunk[..want])?;
            let Some(last) = last_nonzero(&chunk[..read]) else { continue };
            beyond.bytes = beyond.bytes.max(start - from + last as u64 + 1);
            for at in (0..=last.min(CHUNK_BYTES - 8)).step_by(8) {
                let Some(candidate) = chunk[..read].get(at..at + MARK_BYTES as usize) else { break };
                let marks = candidate[8] == Kind::Mark as u8 || candidate[8] == Kind::Footer as u8;
                if !marks || candidate[4..8] != [8, 0, 0, 0] {
                    continue;
                }
                let offset = start + at as u64;
                if let Ok(record) = record::parse(candidate, segment.seal(), offset, true)
                    && record.seq > after_seq
                    && let Some(named) = record.number()
                {
                    beyond.watermark = beyond.watermark.max(named);
                }
            }
        }
    }
    Ok(beyond)
}

/// The last byte that is not zero. Fast over pages of zeros, which make up most of a reserved segment.
fn last_nonzero(piece: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut end = piece.len();
    for block in piece.rchunks(ZEROS.len()) {
        if *block != ZEROS[..block.len()] {
            return block.iter().rposition(|&byte| byte != 0).map(|at| end - block.len() + at);
        }
        end -= block.len();
    }
    None
}
