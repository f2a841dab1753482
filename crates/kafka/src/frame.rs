//! Requests and answers as frames: headers, correlation ids, sizes. Pure.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::Error;
use crate::primitive::{Reader, Writer};
use crate::versions::Api;

/// What is said of a request when its answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    pub api: Api,
    pub version: i16,
    pub correlation: i32,
}

impl RequestHead {
    /// Appends the size of the whole frame and the header of a request whose body has `body_bytes`.
    ///
    /// # Errors
    /// [`Error::Config`] when the frame would be longer than the protocol can say.
    pub fn encode(self, client_id: &str, body_bytes: usize, into: &mut BytesMut) -> Result<(), Error> {
        let start = into.len();
        into.put_i32(0);
        let mut writer = Writer { into, flexible: false };
        writer.i16(self.api.key());
        writer.i16(self.version);
        writer.i32(self.correlation);
        // Not compact in any version.
        writer.string(client_id);
        if self.api.is_flexible(self.version) {
            writer.into.put_u8(0);
        }
        let bytes = into.len() - start - 4 + body_bytes;
        let size = i32::try_from(bytes)
            .map_err(|_| Error::Config(format!("a {} request of {bytes} bytes is too long", self.api)))?;
        into[start..start + 4].copy_from_slice(&size.to_be_bytes());
        Ok(())
    }

    /// The body of an answer: the frame after its header, which must be that of this request.
    ///
    /// # Errors
    /// [`Error::Malformed`]
    pub fn body(self, frame: &Bytes) -> Result<Bytes, Error> {
        let mut reader = Reader::new(frame, "an answer's header", self.has_flexible_answer_header());
        let correlation = reader.i32()?;
        if correlation != self.correlation {
            return Err(reader.error(format!("correlation id {correlation}, expected {}", self.correlation)));
        }
        reader.skip_tagged()?;
        Ok(frame.slice(frame.len() - reader.remaining()..))
    }

    /// ApiVersions answers so that each client can read them.
    fn has_flexible_answer_header(self) -> bool {
        self.api != Api::ApiVersions && self.api.is_flexible(self.version)
    }
}

/// The size of the answer that follows these four bytes.
///
/// # Errors
/// [`Error::Malformed`] when it cannot be one, or is more than `bytes_max`.
pub fn answer_size(prefix: [u8; 4], bytes_max: usize) -> Result<usize, Error> {
    let announced = i32::from_be_bytes(prefix);
    let error = |why: String| Err(Error::Malformed { what: "an answer's size", at: 0, why });
    match usize::try_from(announced) {
        Err(_) | Ok(0..4) => error(format!("{announced} bytes{}", another_protocol(prefix))),
        Ok(size) if size > bytes_max => {
            error(format!("{size} bytes, at most {bytes_max} are taken{}", another_protocol(prefix)))
        }
        Ok(size) => Ok(size),
    }
}

/// What the first bytes of a server look like that does not speak Kafka's protocol.
fn another_protocol(prefix: [u8; 4]) -> &'static str {
    match prefix {
        [b'H', b'T', b'T', b'P'] => " (what answers there speaks HTTP)",
        [0x15 | 0x16, 0x03, ..] => " (what answers there speaks TLS)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ApiKey, RequestHeader};
    use kafka_protocol::protocol::decode_request_header_from_buffer;
    use proptest::prelude::*;

    #[test]
    fn headers_are_those_of_the_protocol() {
        for api in Api::ALL {
            let ours = api.ours();
            for version in ours.min..=ours.max {
                let head = RequestHead { api, version, correlation: 77 };
                let mut bytes = BytesMut::new();
                head.encode("me", 5, &mut bytes).unwrap();
                let size = i32::from_be_bytes(bytes[..4].try_into().unwrap());
                assert_eq!(usize::try_from(size).unwrap(), bytes.len() - 4 + 5);
                let mut rest = bytes.freeze().slice(4..);
                let header: RequestHeader = decode_request_header_from_buffer(&mut rest).unwrap();
                assert!(rest.is_empty());
                assert_eq!((header.request_api_key, header.request_api_version), (api.key(), version));
                assert_eq!((header.correlation_id, header.client_id.as_deref()), (77, Some("me")));
                let theirs = ApiKey::try_from(api.key()).unwrap().response_header_version(version);
                assert_eq!(i16::from(head.has_flexible_answer_header()), theirs, "{api} {version}");
            }
        }
        let mut bytes = BytesMut::new();
        let head = RequestHead { api: Api::Produce, version: 9, correlation: 0 };
        assert!(head.encode("me", usize::MAX / 2, &mut bytes).is_err());
    }

    #[test]
    fn an_answer_must_be_the_one_expected() {
        let head = RequestHead { api: Api::Fetch, version: 12, correlation: 3 };
        let body = |bytes: &[u8]| head.body(&Bytes::copy_from_slice(bytes));
        assert_eq!(body(&[0, 0, 0, 3, 0, 9, 8]).unwrap(), &[9, 8][..]);
        assert_eq!(body(&[0, 0, 0, 3, 1, 5, 1, 0xff, 9]).unwrap(), &[9][..], "an unknown tag");
        let error = body(&[0, 0, 0, 4, 0]).unwrap_err().to_string();
        assert!(error.ends_with("correlation id 4, expected 3"), "{error}");
        assert!(body(&[0, 0, 0]).is_err());
        let head = RequestHead { api: Api::ApiVersions, version: 3, correlation: 3 };
        assert_eq!(head.body(&Bytes::from_static(&[0, 0, 0, 3, 7])).unwrap(), &[7][..]);
    }

    #[test]
    fn sizes_are_bounded() {
        let rows: [([u8; 4], Result<usize, &str>); 6] = [
            ([0, 0, 0, 4], Ok(4)),
            ([0, 0, 1, 0], Ok(256)),
            ([0, 0, 1, 1], Err("257 bytes, at most 256 are taken")),
            ([0, 0, 0, 3], Err("3 bytes")),
            ([0xff; 4], Err("-1 bytes")),
            (*b"HTTP", Err("speaks HTTP)")),
        ];
        for (prefix, expected) in rows {
            match (answer_size(prefix, 256), expected) {
                (Ok(size), Ok(expected)) => assert_eq!(size, expected),
                (Err(error), Err(expected)) => assert!(error.to_string().ends_with(expected), "{error}"),
                (got, expected) => panic!("{got:?}, expected {expected:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_no_panic(bytes: Vec<u8>, version in 4i16..=18) {
            let head = RequestHead { api: Api::Fetch, version, correlation: 0 };
            let _ = head.body(&Bytes::from(bytes));
        }
    }
}
