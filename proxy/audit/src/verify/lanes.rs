//! Reading a log in blocks that several threads take apart while the walk, which has to go in order, takes what they
//! found.
//!
//! A thread checks CRCs, byte forms and hashes: all that concerns one record alone. Memory is bounded by the blocks
//! that are under way, however large a segment is.

use crate::segment::{Frames, Header, Segment, SegmentError};
use crate::verify::VerifyError;
use crate::verify::facts::Facts;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Bytes of records in a block, and at most one record more.
const BLOCK_BYTES: usize = 1 << 20;

/// Blocks under way for each thread.
const BLOCKS_AHEAD: usize = 3;

/// The next thing in the log.
pub(super) enum Found {
    /// A segment begins.
    Header { segment: Segment, header: Header },
    /// Frames of records.
    Frames(Vec<Frame>),
    /// The rest of a segment, from this byte on, cannot be read.
    Unreadable { segment: Segment, offset: u64, error: SegmentError },
}

/// A frame that should hold a record.
pub(super) struct Frame {
    /// Bytes of its payload.
    pub(super) bytes: u64,
    /// The record, or why it is none.
    pub(super) facts: Result<Facts, String>,
}

/// Shows a log's segments in their order. `origin` is the name that the log must have.
///
/// # Errors
/// What `take` gives.
pub(super) fn read(
    segments: Vec<Segment>,
    origin: Option<&str>,
    mut take: impl FnMut(Found) -> Result<(), VerifyError>,
) -> Result<(), VerifyError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (work, jobs) = channel();
    let jobs = Mutex::new(jobs);
    std::thread::scope(|scope| {
        // Moved in, so that the threads see its end whichever way this one leaves.
        let work = work;
        for _ in 0..threads {
            scope.spawn(|| labour(&jobs, origin));
        }
        let mut reader = Reader { segments: segments.into(), current: None, ended: None };
        let mut ahead = VecDeque::new();
        loop {
            while ahead.len() < threads * BLOCKS_AHEAD {
                let Some(next) = reader.next() else { break };
                ahead.push_back(match next {
                    Read::Found(found) => Ahead::Found(Box::new(found)),
                    Read::Block(block) => Ahead::Block(hand_out(&work, block)),
                });
            }
            match ahead.pop_front() {
                Some(Ahead::Found(found)) => take(*found)?,
                Some(Ahead::Block(result)) => {
                    // The thread that had it panicked, and the scope passes that on.
                    let gone =
                        |_| VerifyError::Io { path: PathBuf::new(), source: io::ErrorKind::Other.into() };
                    take(Found::Frames(result.recv().map_err(gone)?))?;
                }
                None => return Ok(()),
            }
        }
    })
}

/// Whole frames, one after another.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// End of each payload, and its CRC.
    frames: Vec<(usize, u32)>,
}

impl Block {
    /// Takes frames until it is full; whether there may be more.
    fn fill(&mut self, frames: &mut Frames) -> Result<bool, SegmentError> {
        while self.bytes.len() < BLOCK_BYTES {
            let Some(crc) = frames.next_into(&mut self.bytes)? else { return Ok(false) };
            self.frames.push((self.bytes.len(), crc));
        }
        Ok(true)
    }

    fn judge(&self, origin: Option<&str>) -> Vec<Frame> {
        let mut start = 0;
        let mut judged = Vec::with_capacity(self.frames.len());
        for (end, crc) in &self.frames {
            let leaf = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            let facts = match Facts::read(leaf, origin) {
                Err(error) => Err(error.to_string()),
                Ok(_) if crc32fast::hash(leaf) != *crc => Err("CRC does not fit".to_owned()),
                Ok(facts) => Ok(facts),
            };
            judged.push(Frame { bytes: leaf.len() as u64, facts });
        }
        judged
    }
}

/// A block, and where what is found in it goes.
type Job = (Block, SyncSender<Vec<Frame>>);

enum Ahead {
    Found(Box<Found>),
    Block(Receiver<Vec<Frame>>),
}

fn hand_out(work: &Sender<Job>, block: Block) -> Receiver<Vec<Frame>> {
    let (reply, result) = sync_channel(1);
    // Without a thread to take it, the answer does not come, and that is seen there.
    drop(work.send((block, reply)));
    result
}

fn labour(jobs: &Mutex<Receiver<Job>>, origin: Option<&str>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, reply)) = job else { return };
        // Nobody waits for it any more when the walk has failed.
        drop(reply.send(block.judge(origin)));
    }
}

enum Read {
    Found(Found),
    Block(Block),
}

/// Reads segments one after another.
struct Reader {
    segments: VecDeque<Segment>,
    current: Option<(Segment, Frames)>,
    /// Why the segment ended behind the block that was read last.
    ended: Option<Found>,
}

impl Reader {
    fn next(&mut self) -> Option<Read> {
        if let Some(found) = self.ended.take() {
            return Some(Read::Found(found));
        }
        loop {
            let Some((segment, mut frames)) = self.current.take() else {
                return self.segments.pop_front().map(|segment| Read::Found(self.open(segment)));
            };
            let mut block = Block::default();
            match block.fill(&mut frames) {
                Ok(true) => self.current = Some((segment, frames)),
                Ok(false) => {}
                Err(error) => {
                    self.ended = Some(Found::Unreadable { segment, offset: frames.offset(), error });
                }
            }
            if !block.frames.is_empty() {
                return Some(Read::Block(block));
            }
            if let Some(found) = self.ended.take() {
                return Some(Read::Found(found));
            }
        }
    }

    fn open(&mut self, segment: Segment) -> Found {
        match Frames::open(&segment.path) {
            Ok((frames, header)) => {
                self.current = Some((segment.clone(), frames));
                Found::Header { segment, header }
            }
            Err(error) => Found::Unreadable { segment, offset: 0, error },
        }
    }
}
