import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The least that a copier built on Kafka's Java client does: a consumer of all partitions, an idempotent producer,
 * and nothing between them. It stores no position. Its sizes are those that were fastest of the many tried. Arguments: source and destination (host:port), source and
 * destination topic, the codec with which the producer compresses.
 */
final class CopyLoop {
  private CopyLoop() {}

  public static void main(String[] args) {
    if (args.length != 5) {
      System.err.println("CopyLoop SOURCE DESTINATION SOURCE_TOPIC DESTINATION_TOPIC CODEC");
      System.exit(2);
    }
    AtomicReference<Exception> failure = new AtomicReference<>();
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(consumer(args[0]));
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(producer(args[1], args[4]))) {
      List<TopicPartition> partitions = consumer.partitionsFor(args[2]).stream()
          .map(info -> new TopicPartition(args[2], info.partition()))
          .toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      System.out.println("CopyLoop copies " + partitions.size() + " partitions");
      while (failure.get() == null) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
          producer.send(
              new ProducerRecord<>(args[3], record.partition(), record.timestamp(), record.key(), record.value(),
                  record.headers()),
              (metadata, refused) -> {
                if (refused != null) {
                  failure.compareAndSet(null, refused);
                }
              });
        }
      }
    }
    throw new IllegalStateException("a record was refused", failure.get());
  }

  private static Properties consumer(String servers) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", servers);
    properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("isolation.level", "read_committed");
    properties.put("enable.auto.commit", "false");
    properties.put("fetch.max.bytes", "2097152");
    properties.put("max.partition.fetch.bytes", "131072");
    properties.put("max.poll.records", "20000");
    properties.put("receive.buffer.bytes", "-1");
    // In its favour: nobody else here checks them either.
    properties.put("check.crcs", "false");
    return properties;
  }

  private static Properties producer(String servers, String codec) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", servers);
    properties.put("key.serializer", ByteArraySerializer.class.getName());
    properties.put("value.serializer", ByteArraySerializer.class.getName());
    properties.put("acks", "all");
    properties.put("enable.idempotence", "true");
    properties.put("max.in.flight.requests.per.connection", "5");
    properties.put("compression.type", codec);
    properties.put("batch.size", "65536");
    properties.put("linger.ms", "20");
    properties.put("buffer.memory", "134217728");
    properties.put("max.request.size", "8388608");
    properties.put("send.buffer.bytes", "-1");
    return properties;
  }
}
