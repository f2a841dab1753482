import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Produces the records that follow the request, in transactions when the properties have a transactional.id. Answers
 * with the partition and offset of each.
 */
final class Produce {
  private final KafkaProducer<byte[], byte[]> producer;
  private final boolean transactional;
  private final List<Future<RecordMetadata>> sent = new ArrayList<>();
  private boolean open;

  private Produce(Properties properties) {
    producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    transactional = properties.containsKey("transactional.id");
  }

  static ObjectNode run(ObjectNode request, Wire wire) throws Exception {
    Properties properties = KafkaTool.properties(request, "properties",
        "acks", "all", "max.block.ms", "30000", "delivery.timeout.ms", "60000", "request.timeout.ms", "30000",
        "max.request.size", "" + (64 << 20), "buffer.memory", "" + (128 << 20));
    Produce produce = new Produce(properties);
    try (produce.producer) {
      return produce.steps(wire);
    }
  }

  private ObjectNode steps(Wire wire) throws Exception {
    if (transactional) {
      producer.initTransactions();
    }
    for (char kind = wire.readKind(); kind != 'E'; kind = wire.readKind()) {
      switch (kind) {
        case 'R' -> send(wire);
        case 'C' -> {
          producer.commitTransaction();
          open = false;
        }
        case 'A' -> {
          // What is still in the buffer would be dropped instead of written and then aborted.
          producer.flush();
          producer.abortTransaction();
          open = false;
        }
        default -> throw new IOException("unknown step " + kind);
      }
    }
    if (open) {
      throw new IllegalStateException("the last transaction is neither committed nor aborted");
    }
    producer.flush();
    return positions();
  }

  private void send(Wire wire) throws IOException {
    if (transactional && !open) {
      producer.beginTransaction();
      open = true;
    }
    sent.add(producer.send(wire.readRecord()));
  }

  private ObjectNode positions() throws Exception {
    ObjectNode answer = Wire.JSON.createObjectNode();
    ArrayNode positions = answer.putArray("positions");
    for (Future<RecordMetadata> one : sent) {
      RecordMetadata written = one.get();
      positions.addArray().add(written.partition()).add(written.offset());
    }
    return answer;
  }
}
