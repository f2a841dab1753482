//! Where in a stream of Kafka's frames one is: each begins with its length, in four bytes. Pure.

const LENGTH_BYTES: usize = 4;

/// Follows one direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames {
    length: [u8; LENGTH_BYTES],
    /// Bytes of the length that have come.
    known: usize,
    /// Bytes of the frame that are to come.
    left: usize,
}

impl Frames {
    /// As it is once these bytes have gone by.
    pub fn after(mut self, mut bytes: &[u8]) -> Frames {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                self.left -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.length[self.known] = *first;
            self.known += 1;
            bytes = rest;
            if self.known == LENGTH_BYTES {
                self.known = 0;
                self.left = usize::try_from(i32::from_be_bytes(self.length)).unwrap_or(0);
            }
        }
        self
    }

    /// A frame has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.known > 0 || self.left > 0
    }
}

/// The client id of a connection's first request, once so much of it is there.
pub(super) fn client_id(bytes: &[u8]) -> Option<String> {
    // Length, API, version, correlation id, then the id with its length in two bytes; −1: none.
    const ID: usize = 12;
    let length = i16::from_be_bytes(*bytes.get(ID..)?.first_chunk()?);
    let length = usize::try_from(length).unwrap_or(0);
    let id = bytes.get(ID + 2..)?.get(..length)?;
    Some(String::from_utf8_lossy(id).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_frame_is_known_from_its_ends() {
        let two = [&5i32.to_be_bytes()[..], b"abcde", &1i32.to_be_bytes()[..], b"f"].concat();
        let inside: Vec<bool> =
            (0..=two.len()).map(|at| Frames::default().after(&two[..at]).is_inside()).collect();
        let ends = [0, 9, 14];
        let expected: Vec<bool> = (0..=two.len()).map(|at| !ends.contains(&at)).collect();
        assert_eq!(inside, expected);
        let byte_by_byte = two.iter().fold(Frames::default(), |frames, byte| frames.after(&[*byte]));
        assert!(!byte_by_byte.is_inside());
    }

    #[test]
    fn the_client_id_is_read_once_it_is_there() {
        let request = [&20i32.to_be_bytes()[..], &[0, 18, 0, 3], &[0; 4], &[0, 2], b"me", b"rest"].concat();
        assert_eq!(client_id(&request), Some("me".to_owned()));
        assert_eq!(client_id(&request[..15]), None);
        assert_eq!(client_id(&request[..3]), None);
        let none = [&20i32.to_be_bytes()[..], &[0, 18, 0, 3], &[0; 4], &[255, 255]].concat();
        assert_eq!(client_id(&none), Some(String::new()));
    }
}
