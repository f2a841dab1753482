//! Is a broker ready? Asked with Kafka's own protocol: brokers that a Metadata response names are unfenced and serve.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

/// Metadata v1, the oldest that Kafka 4 answers: api key 3, version 1, correlation id 7, no client id, and an empty
/// list of topics, which from v1 on means none.
const REQUEST: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 255, 255, 0, 0, 0, 0];

/// How many brokers the one at this port knows to be alive.
pub(crate) fn living_brokers(port: u16) -> io::Result<usize> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&REQUEST)?;
    // Length, correlation id, and the length of the broker list.
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    count_of(head).ok_or_else(|| io::Error::other("an answer that is not Kafka's"))
}

fn count_of(head: [u8; 12]) -> Option<usize> {
    let [_, _, _, _, 0, 0, 0, 7, a, b, c, d] = head else { return None };
    usize::try_from(i32::from_be_bytes([a, b, c, d])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_brokers_of_an_answer_to_us() {
        assert_eq!(count_of([0, 0, 0, 50, 0, 0, 0, 7, 0, 0, 0, 2]), Some(2));
        assert_eq!(count_of([0, 0, 0, 50, 0, 0, 0, 8, 0, 0, 0, 2]), None, "another correlation id");
        assert_eq!(count_of([0, 0, 0, 50, 0, 0, 0, 7, 255, 255, 255, 255]), None, "a null list");
    }
}
