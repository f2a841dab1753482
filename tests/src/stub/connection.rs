//! One connection: a request, its answer, the next request.

use std::io;
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{FetchRequest, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::answers;
use super::api::Api;
use super::body::{Body, Inflow, invalid};
use super::broker::Broker;
use super::code;
use super::fetch;
use super::injection::Action;
use super::produce;
use super::reply::{End, Fate, Pieces, send};

/// As `socket.request.max.bytes`.
const REQUEST_MAX_BYTES: usize = 100 << 20;
const STALL_STEP: std::time::Duration = std::time::Duration::from_millis(20);

/// Serves until the client closes the connection, breaks the protocol, or an injection ends it.
pub(crate) fn serve(broker: &Broker, stream: &TcpStream) {
    let _slower = stream.set_nodelay(true);
    let (mut from, mut frame) = (Inflow::new(stream), Pieces::default());
    loop {
        match serve_one(broker, stream, &mut from, &mut frame) {
            Ok(()) => {}
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    broker.counts.fault("a request that cannot be read");
                }
                // The peer may be gone already.
                let _closed = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }
}

/// What every request begins with.
#[derive(Clone, Copy, Debug)]
struct Head {
    api: Api,
    version: i16,
    correlation_id: i32,
}

fn serve_one(
    broker: &Broker,
    stream: &TcpStream,
    from: &mut Inflow<'_>,
    frame: &mut Pieces,
) -> io::Result<()> {
    let mut body = from.next(REQUEST_MAX_BYTES)?;
    let head = read_head(broker, &mut body)?;
    let mut fate = Fate::default();
    let mut injected = None;
    if broker.injections.waiting() > 0
        && let Some(action) = broker.injections.take(head.api, None)
    {
        injected = fate.take(action);
    }
    frame.begin();
    match head.api {
        Api::Produce => {
            let request = produce::Request::read(broker, &mut body, head.version)?;
            body.end()?;
            let answered = request.acks != 0;
            let response = produce::answer(broker, request, injected, &mut fate);
            if !answered {
                return Ok(());
            }
            put_message(frame, head, &response)?;
        }
        Api::Fetch => {
            let request = decode::<FetchRequest>(&mut body, head.version)?;
            put_header(frame, head)?;
            let error = code_of(injected);
            fetch::answer(broker, &request, (head.version, error), frame, &mut fate);
        }
        api @ (Api::ListOffsets
        | Api::Metadata
        | Api::FindCoordinator
        | Api::ApiVersions
        | Api::CreateTopics
        | Api::InitProducerId
        | Api::OffsetForLeaderEpoch
        | Api::DescribeConfigs
        | Api::CreatePartitions
        | Api::DescribeCluster
        | Api::DescribeProducers) => {
            let request = body.rest()?;
            let (version, error) = (head.version, code_of(injected));
            let mut asked = answers::Asked { broker, version, error, fate: &mut fate };
            let bytes = answers::answer(&mut asked, api, request)?;
            put_header(frame, head)?;
            frame.put(&bytes);
        }
    }
    stall(broker, fate);
    send(stream, frame, fate)
}

fn code_of(injected: Option<Action>) -> i16 {
    if let Some(Action::Error { code, .. }) = injected { code } else { code::NONE }
}

fn stall(broker: &Broker, fate: Fate) {
    let deadline = crate::wait::Deadline::after(fate.stall);
    while !deadline.passed() && !broker.stops() && fate.end != (End::Closed { after: false }) {
        // Every append elsewhere wakes it, so it looks again.
        broker.wait_for_append(broker.appends(), deadline.left().min(STALL_STEP));
    }
}

fn read_head(broker: &Broker, body: &mut Body<'_, '_>) -> io::Result<Head> {
    let (key, version, correlation_id) = (body.i16()?, body.i16()?, body.i32()?);
    let api = Api::of(key).ok_or_else(invalid)?;
    let head = Head { api, version, correlation_id };
    // A version of ApiVersions that is too new gets an answer; any other request does not.
    let Some((min, max)) = answers::offered(broker, api) else { return Err(invalid()) };
    if !(min..=max).contains(&version) {
        return if api == Api::ApiVersions { Ok(head) } else { Err(invalid()) };
    }
    let _client_id = body.string(false)?;
    body.tags(api.key().request_header_version(version) >= 2)?;
    Ok(head)
}

fn put_header(to: &mut Pieces, head: Head) -> io::Result<()> {
    let header = ResponseHeader::default().with_correlation_id(head.correlation_id);
    let version = head.api.key().response_header_version(head.version);
    to.put(&encode(&header, version)?);
    Ok(())
}

fn put_message(to: &mut Pieces, head: Head, message: &impl Encodable) -> io::Result<()> {
    put_header(to, head)?;
    to.put(&encode(message, head.version)?);
    Ok(())
}

pub(crate) fn encode(message: &impl Encodable, version: i16) -> io::Result<Bytes> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.freeze())
}

fn decode<T: Decodable>(body: &mut Body<'_, '_>, version: i16) -> io::Result<T> {
    T::decode(&mut body.rest()?, version).map_err(|_| invalid())
}
