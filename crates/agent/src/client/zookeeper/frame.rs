//! The bytes of the few messages of ZooKeeper's protocol that a question takes. Pure.
//!
//! A frame is its length in four bytes, then fields one after the other, big end first. The crates that speak the
//! protocol keep sessions alive, reconnect by themselves and forget why a server was not reached; here a session lasts
//! for one question, and the reason is the answer.

/// A longer answer is none: ZooKeeper keeps no node that is larger (`jute.maxbuffer`).
pub const FRAME_BYTES_MAX: usize = 1 << 20;

const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const CLOSE_SESSION: i32 = -11;
/// ZooKeeper's own codes.
const NO_NODE: i32 = -101;
const NO_AUTH: i32 = -102;

/// What can be wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such path")]
    NoNode,
    #[error("it may not be read")]
    NoAuth,
    #[error("ZooKeeper refuses with code {0}")]
    Other(i32),
    #[error("what answers there does not speak ZooKeeper's protocol")]
    Malformed,
}

/// The first frame of a connection: a new session.
#[must_use]
pub fn connect(session_timeout_ms: i32) -> Vec<u8> {
    let mut body = Vec::new();
    put_int(&mut body, 0); // The protocol's version.
    put_long(&mut body, 0); // Nothing was seen so far.
    put_int(&mut body, session_timeout_ms);
    put_long(&mut body, 0); // No former session.
    put_bytes(&mut body, &[0; 16]); // Its password.
    body.push(0); // Only a server that is in a quorum.
    framed(&body)
}

/// Asks for the names of a node's children.
#[must_use]
pub fn get_children(xid: i32, path: &str) -> Vec<u8> {
    request(xid, GET_CHILDREN, path)
}

/// Asks for a node's data.
#[must_use]
pub fn get_data(xid: i32, path: &str) -> Vec<u8> {
    request(xid, GET_DATA, path)
}

/// Ends the session: the server forgets it at once.
#[must_use]
pub fn close(xid: i32) -> Vec<u8> {
    let mut body = Vec::new();
    put_int(&mut body, xid);
    put_int(&mut body, CLOSE_SESSION);
    framed(&body)
}

fn request(xid: i32, code: i32, path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put_int(&mut body, xid);
    put_int(&mut body, code);
    put_bytes(&mut body, path.as_bytes());
    body.push(0); // No watch.
    framed(&body)
}

/// Whether a frame of this length may follow.
///
/// # Errors
/// [`Refusal::Malformed`] where it may not.
pub fn length(bytes: [u8; 4]) -> Result<usize, Refusal> {
    let length = usize::try_from(i32::from_be_bytes(bytes)).map_err(|_| Refusal::Malformed)?;
    if length <= FRAME_BYTES_MAX { Ok(length) } else { Err(Refusal::Malformed) }
}

/// Reads the answer to [`connect`].
///
/// # Errors
/// [`Refusal::Malformed`].
pub fn connected(frame: &[u8]) -> Result<(), Refusal> {
    let mut fields = Fields(frame);
    let (version, timeout) = (fields.int()?, fields.int()?);
    fields.take(8)?;
    fields.bytes()?;
    // Older servers end here; others say whether they only read.
    if version == 0 && timeout > 0 && fields.0.len() <= 1 { Ok(()) } else { Err(Refusal::Malformed) }
}

/// Reads the answer to [`get_children`].
///
/// # Errors
/// What is wrong.
pub fn children(frame: &[u8], xid: i32) -> Result<Vec<String>, Refusal> {
    let mut fields = answer(frame, xid)?;
    let count = fields.int()?;
    (0..count).map(|_| fields.text()).collect()
}

/// Reads the answer to [`get_data`].
///
/// # Errors
/// What is wrong.
pub fn data(frame: &[u8], xid: i32) -> Result<Vec<u8>, Refusal> {
    Ok(answer(frame, xid)?.bytes()?.to_vec())
}

fn answer(frame: &[u8], xid: i32) -> Result<Fields<'_>, Refusal> {
    let mut fields = Fields(frame);
    let given = fields.int()?;
    fields.take(8)?;
    let code = fields.int()?;
    if given != xid {
        return Err(Refusal::Malformed);
    }
    match code {
        0 => Ok(fields),
        NO_NODE => Err(Refusal::NoNode),
        NO_AUTH => Err(Refusal::NoAuth),
        other => Err(Refusal::Other(other)),
    }
}

fn put_int(to: &mut Vec<u8>, number: i32) {
    to.extend_from_slice(&number.to_be_bytes());
}

fn put_long(to: &mut Vec<u8>, number: i64) {
    to.extend_from_slice(&number.to_be_bytes());
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    // Paths and passwords are short.
    put_int(to, i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    to.extend_from_slice(bytes);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_bytes(&mut frame, body);
    frame
}

struct Fields<'f>(&'f [u8]);

impl<'f> Fields<'f> {
    fn take(&mut self, count: usize) -> Result<&'f [u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Refusal::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<i32, Refusal> {
        let bytes = self.take(4)?.try_into().map_err(|_| Refusal::Malformed)?;
        Ok(i32::from_be_bytes(bytes))
    }

    /// None at all has the length −1.
    fn bytes(&mut self) -> Result<&'f [u8], Refusal> {
        match self.int()? {
            -1 => Ok(&[]),
            length => self.take(usize::try_from(length).map_err(|_| Refusal::Malformed)?),
        }
    }

    fn text(&mut self) -> Result<String, Refusal> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Refusal::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer's header and what follows it.
    fn reply(xid: i32, code: i32, rest: &[u8]) -> Vec<u8> {
        [&xid.to_be_bytes()[..], &7_i64.to_be_bytes(), &code.to_be_bytes(), rest].concat()
    }

    fn texts(texts: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_int(&mut bytes, i32::try_from(texts.len()).unwrap());
        texts.iter().for_each(|text| put_bytes(&mut bytes, text.as_bytes()));
        bytes
    }

    /// As ZooKeeper's own client sends them, taken from the wire.
    #[test]
    fn requests_have_zookeepers_bytes() {
        assert_eq!(
            connect(6000),
            [&[0, 0, 0, 45][..], &[0; 12], &[0, 0, 0x17, 0x70], &[0; 8], &[0, 0, 0, 16], &[0; 16], &[0]]
                .concat()
        );
        assert_eq!(get_children(1, "/a"), [0, 0, 0, 15, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 2, b'/', b'a', 0]);
        assert_eq!(get_data(2, "/")[4..12], [0, 0, 0, 2, 0, 0, 0, 4]);
        assert_eq!(close(3), [0, 0, 0, 8, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xf5]);
    }

    #[test]
    fn a_session_is_accepted_by_old_and_new_servers() {
        let mut accepted = [&[0, 0, 0, 0, 0, 0, 0x17, 0x70][..], &[1; 8]].concat();
        put_bytes(&mut accepted, &[9; 16]);
        assert_eq!(connected(&accepted), Ok(()));
        accepted.push(0);
        assert_eq!(connected(&accepted), Ok(()));
        accepted.push(0);
        assert_eq!(connected(&accepted), Err(Refusal::Malformed), "too long");
        // A session that is over before it began.
        let expired = [&[0; 16][..], &[0, 0, 0, 0]].concat();
        assert_eq!(connected(&expired), Err(Refusal::Malformed));
    }

    #[test]
    fn answers_are_read() {
        let names = reply(5, 0, &texts(&["1", "", "23"]));
        assert_eq!(children(&names, 5), Ok(vec!["1".to_owned(), String::new(), "23".to_owned()]));
        let mut value = Vec::new();
        put_bytes(&mut value, b"{}");
        // Behind the data is what is known of the node.
        value.extend([1; 68]);
        assert_eq!(data(&reply(6, 0, &value), 6), Ok(b"{}".to_vec()));
        assert_eq!(data(&reply(6, 0, &(-1_i32).to_be_bytes()), 6), Ok(Vec::new()));
    }

    #[test]
    fn each_refusal_and_each_piece_of_garbage_is_told() {
        let rows = [
            (reply(1, -101, &[]), Refusal::NoNode),
            (reply(1, -102, &[]), Refusal::NoAuth),
            (reply(1, -4, &[]), Refusal::Other(-4)),
            (reply(2, 0, &texts(&["a"])), Refusal::Malformed),
            (reply(1, 0, &[]), Refusal::Malformed),
            (reply(1, 0, &[0, 0, 0, 1]), Refusal::Malformed),
            (reply(1, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]), Refusal::Malformed),
            (reply(1, 0, &[0, 0, 0, 1, 0, 0, 0, 9, b'a']), Refusal::Malformed),
            (reply(1, 0, &[0, 0, 0, 1, 0x80, 0, 0, 0]), Refusal::Malformed),
            (reply(1, 0, &[0, 0, 0, 1, 0, 0, 0, 1, 0xff]), Refusal::Malformed),
            (vec![0; 3], Refusal::Malformed),
        ];
        for (frame, expected) in rows {
            assert_eq!(children(&frame, 1), Err(expected), "{frame:?}");
        }
        assert_eq!(length([0, 0, 0, 9]), Ok(9));
        assert_eq!(length([0, 0x10, 0, 0]), Ok(FRAME_BYTES_MAX));
        for bytes in [[0, 0x10, 0, 1], [0xff; 4], *b"HTTP"] {
            assert_eq!(length(bytes), Err(Refusal::Malformed), "{bytes:?}");
        }
    }
}
