import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.header.Header;

/**
 * Compares two topics, which may lie in two clusters, partition by partition and record by record in their order: key,
 * value, headers, timestamp. Offsets may differ. Nothing is kept in memory. Tells its progress in between.
 */
final class Compare {
  private static final int SHOWN = 10;
  private static final int TELL_EVERY = 5_000;

  private final ObjectNode answer = Wire.JSON.createObjectNode();
  private final ArrayNode differences = answer.putArray("differences");
  private final Wire wire;
  private long compared;
  private long equal;
  private long different;

  private Compare(Wire wire) {
    this.wire = wire;
  }

  static ObjectNode run(ObjectNode request, Wire wire) throws Exception {
    long end = System.nanoTime() + request.get("limit_ms").asLong() * 1_000_000;
    try (Side left = new Side(request, "left", end); Side right = new Side(request, "right", end)) {
      return new Compare(wire).all(left, right);
    }
  }

  private ObjectNode all(Side left, Side right) throws IOException {
    int partitions = Math.max(left.ends.size(), right.ends.size());
    for (int partition = 0; partition < partitions; partition++) {
      left.begin(partition);
      right.begin(partition);
      ConsumerRecord<byte[], byte[]> one = left.next();
      ConsumerRecord<byte[], byte[]> other = right.next();
      while (one != null || other != null) {
        one(partition, one, other);
        one = one == null ? null : left.next();
        other = other == null ? null : right.next();
      }
    }
    answer.put("left_records", left.records).put("left_partitions", left.ends.size());
    answer.put("right_records", right.records).put("right_partitions", right.ends.size());
    return answer.put("equal", equal).put("different", different);
  }

  private void one(int partition, ConsumerRecord<byte[], byte[]> left, ConsumerRecord<byte[], byte[]> right)
      throws IOException {
    String what = difference(left, right);
    if (what == null) {
      equal++;
    } else {
      if (different++ < SHOWN) {
        ObjectNode shown = differences.addObject().put("partition", partition).put("what", what);
        shown.put("left_offset", left == null ? null : left.offset());
        shown.put("right_offset", right == null ? null : right.offset());
      }
    }
    if (++compared % TELL_EVERY == 0) {
      wire.writeJson(Wire.JSON.createObjectNode().put("compared", compared));
      wire.flush();
    }
  }

  private static String difference(ConsumerRecord<byte[], byte[]> left, ConsumerRecord<byte[], byte[]> right) {
    if (left == null || right == null) {
      return left == null ? "only on the right" : "only on the left";
    }
    if (!Arrays.equals(left.key(), right.key())) {
      return "key";
    }
    if (!Arrays.equals(left.value(), right.value())) {
      return "value";
    }
    if (left.timestamp() != right.timestamp()) {
      return "timestamp";
    }
    return sameHeaders(left.headers().toArray(), right.headers().toArray()) ? null : "headers";
  }

  private static boolean sameHeaders(Header[] left, Header[] right) {
    boolean same = left.length == right.length;
    for (int i = 0; same && i < left.length; i++) {
      same = left[i].key().equals(right[i].key()) && Arrays.equals(left[i].value(), right[i].value());
    }
    return same;
  }

  /** One topic, read one partition after the other up to where it ended at the start. */
  private static final class Side implements AutoCloseable {
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final String topic;
    private final Map<Integer, Long> ends;
    private final long deadline;
    private Iterator<ConsumerRecord<byte[], byte[]>> polled = Collections.emptyIterator();
    private TopicPartition partition;
    private long records;

    Side(ObjectNode request, String side, long deadline) {
      consumer = Dump.consumer(request.withObject("/" + side), "properties");
      topic = request.get(side).get("topic").asText();
      this.deadline = deadline;
      ends = consumer.endOffsets(Dump.partitions(consumer, topic)).entrySet().stream()
          .collect(Collectors.toMap(entry -> entry.getKey().partition(), Map.Entry::getValue));
    }

    void begin(int number) {
      polled = Collections.emptyIterator();
      partition = new TopicPartition(topic, number);
      if (ends.containsKey(number)) {
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
      }
    }

    /** The next record of the partition; null at its end, and when there is no such partition. */
    ConsumerRecord<byte[], byte[]> next() {
      long end = ends.getOrDefault(partition.partition(), 0L);
      while (!polled.hasNext() && end > 0 && consumer.position(partition) < end) {
        if (System.nanoTime() > deadline) {
          throw new TimeoutException("not at the end of " + partition);
        }
        polled = consumer.poll(Dump.POLL).iterator();
      }
      if (!polled.hasNext()) {
        return null;
      }
      ConsumerRecord<byte[], byte[]> rec = polled.next();
      if (rec.offset() >= end) {
        polled = Collections.emptyIterator();
        return null;
      }
      records++;
      return rec;
    }

    @Override
    public void close() {
      consumer.close();
    }
  }
}
