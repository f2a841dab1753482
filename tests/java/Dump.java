import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Writes every record of some topics, from their beginning up to where they end when it starts. */
final class Dump {
  static final Duration POLL = Duration.ofMillis(200);

  private Dump() {}

  static ObjectNode run(ObjectNode request, Wire wire) throws Exception {
    long end = System.nanoTime() + request.get("limit_ms").asLong() * 1_000_000;
    long records = 0;
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(request, "properties")) {
      List<TopicPartition> partitions = new ArrayList<>();
      for (var topic : request.withArray("/topics")) {
        partitions.addAll(partitions(consumer, topic.asText()));
      }
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      Set<TopicPartition> open = new HashSet<>(partitions);
      while (!atEnd(consumer, open, ends)) {
        if (System.nanoTime() > end) {
          throw new TimeoutException("not at the end of " + open);
        }
        for (ConsumerRecord<byte[], byte[]> rec : consumer.poll(POLL)) {
          if (rec.offset() < ends.get(new TopicPartition(rec.topic(), rec.partition()))) {
            wire.writeRecord(rec);
            records++;
          }
        }
      }
    }
    ObjectNode answer = Wire.JSON.createObjectNode();
    answer.put("records", records);
    return answer;
  }

  /** By position, which also moves past control records and aborted ones that poll never returns. */
  private static boolean atEnd(
      KafkaConsumer<byte[], byte[]> consumer, Set<TopicPartition> open, Map<TopicPartition, Long> ends) {
    open.removeIf(partition -> consumer.position(partition) >= ends.get(partition));
    return open.isEmpty();
  }

  static KafkaConsumer<byte[], byte[]> consumer(ObjectNode request, String field) {
    Properties properties = KafkaTool.properties(request, field,
        "isolation.level", "read_committed", "enable.auto.commit", "false", "auto.offset.reset", "earliest",
        "allow.auto.create.topics", "false", "max.poll.records", "5000", "default.api.timeout.ms", "20000");
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  static List<TopicPartition> partitions(KafkaConsumer<byte[], byte[]> consumer, String topic) {
    List<PartitionInfo> found = consumer.partitionsFor(topic);
    if (found == null || found.isEmpty()) {
      throw new UnknownTopicOrPartitionException("no topic " + topic);
    }
    return found.stream().map(one -> new TopicPartition(topic, one.partition()))
        .sorted((a, b) -> Integer.compare(a.partition(), b.partition())).toList();
  }
}
