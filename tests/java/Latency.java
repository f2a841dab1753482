import java.time.Duration;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * How long records take from the call of send() at the source to poll() at the destination, at a steady rate. Both
 * ends are this process, so one clock measures. Arguments: source and destination (host:port), source and destination
 * topic, records a second, seconds of warm-up, seconds that count. Prints one line, in milliseconds.
 */
final class Latency {
  private static final int RECORD_BYTES = 1000;

  private Latency() {}

  public static void main(String[] args) throws InterruptedException {
    if (args.length != 7) {
      System.err.println("Latency SOURCE DESTINATION SOURCE_TOPIC DESTINATION_TOPIC RATE WARM_UP_S SECONDS");
      System.exit(2);
    }
    int rate = Integer.parseInt(args[4]);
    int warmUp = rate * Integer.parseInt(args[5]);
    int count = warmUp + rate * Integer.parseInt(args[6]);
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(consumer(args[1]))) {
      List<TopicPartition> partitions = consumer.partitionsFor(args[3]).stream()
          .map(info -> new TopicPartition(args[3], info.partition()))
          .toList();
      consumer.assign(partitions);
      consumer.seekToEnd(partitions);
      partitions.forEach(consumer::position);
      Thread sender = new Thread(() -> send(args[0], args[2], rate, count, partitions.size()), "sender");
      sender.setDaemon(true);
      sender.start();
      report(receive(consumer, count, warmUp), count - warmUp);
    }
  }

  private static void send(String servers, String topic, int rate, int count, int partitions) {
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(producer(servers))) {
      long start = System.nanoTime();
      for (int n = 0; n < count; n++) {
        long due = start + n * 1_000_000_000L / rate;
        for (long left = due - System.nanoTime(); left > 0; left = due - System.nanoTime()) {
          LockSupport.parkNanos(left);
        }
        byte[] value = new byte[RECORD_BYTES];
        // When it was due, not when it was sent: a stalled sender must not hide the wait it causes.
        ByteBuffer.wrap(value).putLong(due).putInt(n);
        producer.send(new ProducerRecord<>(topic, n % partitions, null, value));
      }
    }
  }

  /** Of the records after the warm-up, in nanoseconds; those that did not come are missing. */
  private static long[] receive(KafkaConsumer<byte[], byte[]> consumer, int count, int warmUp) {
    long[] latencies = new long[count - warmUp];
    int taken = 0;
    int seen = 0;
    long lastNews = System.nanoTime();
    while (seen < count && System.nanoTime() - lastNews < 60_000_000_000L) {
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
        long now = System.nanoTime();
        ByteBuffer value = ByteBuffer.wrap(record.value());
        long due = value.getLong();
        if (value.getInt() >= warmUp && taken < latencies.length) {
          latencies[taken++] = now - due;
        }
        seen++;
        lastNews = now;
      }
    }
    return Arrays.copyOf(latencies, taken);
  }

  private static void report(long[] latencies, int expected) {
    Arrays.sort(latencies);
    StringBuilder line = new StringBuilder("latency_ms");
    for (double part : new double[] {0.5, 0.95, 0.99, 0.999, 1}) {
      int at = Math.max(0, (int) Math.ceil(part * latencies.length) - 1);
      double value = latencies.length == 0 ? Double.NaN : latencies[at] / 1e6;
      line.append(String.format(java.util.Locale.ROOT, " %.2f", value));
    }
    System.out.println(line + " of " + latencies.length + " of " + expected);
  }

  private static Properties consumer(String servers) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", servers);
    properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
    properties.put("enable.auto.commit", "false");
    return properties;
  }

  private static Properties producer(String servers) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", servers);
    properties.put("key.serializer", ByteArraySerializer.class.getName());
    properties.put("value.serializer", ByteArraySerializer.class.getName());
    properties.put("acks", "all");
    properties.put("linger.ms", "1");
    return properties;
  }
}
