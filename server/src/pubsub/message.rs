//! [`Encoded`]: one message as the bytes that subscribers get, made at most once for each version of the protocol.

use slotcore_netio::resp::encode::RespWriter;

/// See the module's text. Its buffers serve one message after the other.
#[derive(Debug, Default)]
pub struct Encoded {
    /// For RESP2 and RESP3; empty: not made yet.
    bytes: [Vec<u8>; 2],
}

impl Encoded {
    /// Forgets the message before.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.iter_mut().for_each(Vec::clear);
    }

    /// The message of these words for a client that speaks version `proto`.
    #[inline]
    pub fn get(&mut self, proto: u8, words: &[&[u8]]) -> &[u8] {
        let bytes = &mut self.bytes[usize::from(proto > 2)];
        if bytes.is_empty() {
            write(bytes, proto, words);
        }
        bytes
    }
}

/// Appends a push message: an array for clients that know no pushes.
pub fn write(out: &mut Vec<u8>, proto: u8, words: &[&[u8]]) {
    let mut writer = RespWriter::new(out, proto);
    writer.push(words.len());
    words.iter().for_each(|word| writer.bulk(word));
}
