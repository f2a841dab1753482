import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;

/**
 * Frames, each after a byte that tells its kind. J: JSON. R: a record. C, A, E: commit, abort, end of what is produced.
 * A record is: topic, partition (int, -1: none), offset (long), timestamp (long, -1: none), timestamp type (byte: 0
 * CreateTime, 1 LogAppendTime), key, value, header count (int), per header name and value. Texts, JSON and bytes are an
 * int length (-1: null) and that many bytes. Numbers are big-endian. The Rust side is tests/src/wire.rs.
 */
final class Wire {
  static final ObjectMapper JSON = new ObjectMapper();
  private static final int BUFFER = 1 << 16;

  private final DataInputStream in;
  private final DataOutputStream out;

  Wire(Socket connection) throws IOException {
    in = new DataInputStream(new BufferedInputStream(connection.getInputStream(), BUFFER));
    out = new DataOutputStream(new BufferedOutputStream(connection.getOutputStream(), BUFFER));
  }

  char readKind() throws IOException {
    return (char) in.readUnsignedByte();
  }

  ObjectNode readJson() throws IOException {
    if (readKind() != 'J') {
      throw new IOException("expected JSON");
    }
    return (ObjectNode) JSON.readTree(readBytes());
  }

  void writeJson(ObjectNode json) throws IOException {
    out.writeByte('J');
    writeBytes(JSON.writeValueAsBytes(json));
  }

  ProducerRecord<byte[], byte[]> readRecord() throws IOException {
    String topic = readText();
    int partition = in.readInt();
    in.readLong(); // the offset is the broker's to give
    long timestamp = in.readLong();
    in.readByte(); // so is the timestamp's type
    byte[] key = readBytes();
    byte[] value = readBytes();
    RecordHeaders headers = new RecordHeaders();
    for (int left = in.readInt(); left > 0; left--) {
      headers.add(readText(), readBytes());
    }
    return new ProducerRecord<>(
        topic, partition < 0 ? null : partition, timestamp < 0 ? null : timestamp, key, value, headers);
  }

  void writeRecord(ConsumerRecord<byte[], byte[]> rec) throws IOException {
    out.writeByte('R');
    writeText(rec.topic());
    out.writeInt(rec.partition());
    out.writeLong(rec.offset());
    out.writeLong(rec.timestamp());
    out.writeByte(rec.timestampType().id);
    writeBytes(rec.key());
    writeBytes(rec.value());
    Header[] headers = rec.headers().toArray();
    out.writeInt(headers.length);
    for (Header header : headers) {
      writeText(header.key());
      writeBytes(header.value());
    }
  }

  void flush() throws IOException {
    out.flush();
  }

  private String readText() throws IOException {
    return new String(readBytes(), StandardCharsets.UTF_8);
  }

  private void writeText(String text) throws IOException {
    writeBytes(text.getBytes(StandardCharsets.UTF_8));
  }

  private byte[] readBytes() throws IOException {
    int length = in.readInt();
    return length < 0 ? null : in.readNBytes(length);
  }

  private void writeBytes(byte[] bytes) throws IOException {
    if (bytes == null) {
      out.writeInt(-1);
    } else {
      out.writeInt(bytes.length);
      out.write(bytes);
    }
  }
}
