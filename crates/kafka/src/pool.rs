//! Buffers for answers, used again as soon as nobody holds a slice of them: the next answer lands in memory that the
//! caches know, and the process touches no more than it needs. Without I/O.

use bytes::{Bytes, BytesMut};

/// Shorter answers get memory of their own, which the allocator has at hand.
const POOLED_BYTES_MIN: usize = 16 << 10;
/// Capacities are multiples of it, so that answers of about one size fit each other's buffers.
const STEP_BYTES: usize = 64 << 10;
/// A buffer much larger than an answer would hold memory for nothing while the answer lives.
const WASTE_FACTOR_MAX: usize = 4;

/// Owned by what reads one connection.
#[derive(Debug)]
pub struct BufferPool {
    /// A clone of each frame handed out, the oldest first.
    lent: Vec<Lent>,
    bytes_max: usize,
    allocated: u64,
}

#[derive(Debug)]
struct Lent {
    frame: Bytes,
    capacity: usize,
}

impl BufferPool {
    /// Keeps buffers of up to `bytes_max` in all, in use or not. More than that is allocated when it is needed, and
    /// not kept.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { lent: Vec::new(), bytes_max, allocated: 0 }
    }

    /// An empty buffer with room for `bytes`.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> BytesMut {
        if bytes < POOLED_BYTES_MIN {
            return BytesMut::with_capacity(bytes);
        }
        let fits = |lent: &Lent| lent.capacity >= bytes && lent.capacity / WASTE_FACTOR_MAX <= bytes;
        let free = self.lent.iter().enumerate().filter(|(_, lent)| fits(lent) && lent.frame.is_unique());
        let best = free.min_by_key(|(_, lent)| lent.capacity).map(|(at, _)| at);
        if let Some(at) = best
            && let Ok(mut buffer) = self.lent.remove(at).frame.try_into_mut()
        {
            buffer.clear();
            // Within the capacity, which this restores to what it was.
            if buffer.try_reclaim(bytes) {
                return buffer;
            }
        }
        self.allocated += 1;
        BytesMut::with_capacity(bytes.next_multiple_of(STEP_BYTES))
    }

    /// Freezes a filled buffer, and takes note of it for later.
    #[must_use]
    pub fn lend(&mut self, buffer: BytesMut) -> Bytes {
        let capacity = buffer.capacity();
        let frame = buffer.freeze();
        if capacity >= POOLED_BYTES_MIN {
            self.make_room(capacity);
            if self.kept_bytes() + capacity <= self.bytes_max {
                self.lent.push(Lent { frame: frame.clone(), capacity });
            }
        }
        frame
    }

    /// Bytes of the buffers kept, in use or not.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.lent.iter().map(|lent| lent.capacity).sum()
    }

    /// How often fresh memory was needed.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Drops free buffers, the oldest first, until one of `capacity` fits.
    fn make_room(&mut self, capacity: usize) {
        while self.kept_bytes() + capacity > self.bytes_max {
            let Some(at) = self.lent.iter().position(|lent| lent.frame.is_unique()) else { return };
            self.lent.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    fn filled(pool: &mut BufferPool, bytes: usize) -> Bytes {
        let mut buffer = pool.take(bytes);
        assert!(buffer.is_empty() && buffer.capacity() >= bytes);
        buffer.resize(bytes, 7);
        pool.lend(buffer)
    }

    #[test]
    fn a_buffer_comes_back_once_no_slice_of_it_lives() {
        let mut pool = BufferPool::new(8 * MB);
        let first = filled(&mut pool, MB);
        let place = first.as_ptr();
        let slice = first.slice(MB / 2..);
        drop(first);
        let second = filled(&mut pool, MB - 100);
        assert_ne!(second.as_ptr(), place, "the slice still lives");
        drop(slice);
        for bytes in [MB, MB - 1, MB / 2, 2 * MB / 3] {
            let again = filled(&mut pool, bytes);
            assert_eq!(again.as_ptr(), place, "{bytes}");
        }
        assert_eq!((pool.allocated(), pool.kept_bytes()), (2, 2 * MB));
        assert_eq!(&second[..], &vec![7; MB - 100][..], "untouched");
    }

    #[test]
    fn buffers_much_too_large_or_too_small_are_not_used() {
        let mut pool = BufferPool::new(8 * MB);
        drop(filled(&mut pool, 2 * MB));
        drop(filled(&mut pool, MB / 8));
        drop(filled(&mut pool, 3 * MB));
        drop(filled(&mut pool, 100));
        assert_eq!(pool.allocated(), 3);
        drop(filled(&mut pool, MB));
        assert_eq!(pool.allocated(), 3, "2 MB is near enough");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pool = BufferPool::new(4 * MB);
        let held: Vec<Bytes> = (0..6).map(|_| filled(&mut pool, MB)).collect();
        assert_eq!(pool.kept_bytes(), 4 * MB);
        drop(held);
        drop(filled(&mut pool, 3 * MB));
        assert_eq!(pool.kept_bytes(), 4 * MB, "older ones gave way");
        drop(filled(&mut pool, 9 * MB));
        assert!(pool.kept_bytes() <= 4 * MB);
    }
}
