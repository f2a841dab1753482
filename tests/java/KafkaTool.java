import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Kafka's own Java clients behind a socket, so that many commands pay for the start of one JVM. Each connection carries
 * one command; they run side by side. See Wire for the bytes and tests/src/tool.rs for the other end.
 */
final class KafkaTool {
  interface Command {
    /** Reads the rest of the request if there is one, writes records if there are some, returns the answer. */
    ObjectNode run(ObjectNode request, Wire wire) throws Exception;
  }

  private static final Map<String, Command> COMMANDS = Map.ofEntries(
      Map.entry("create_topic", Admins.on(Admins::createTopic)),
      Map.entry("create_partitions", Admins.on(Admins::createPartitions)),
      Map.entry("delete_topic", Admins.on(Admins::deleteTopic)),
      Map.entry("describe_topic", Admins.on(Admins::describeTopic)),
      Map.entry("topic_configs", Admins.on(Admins::topicConfigs)),
      Map.entry("alter_topic_configs", Admins.on(Admins::alterTopicConfigs)),
      Map.entry("list_topics", Admins.on(Admins::listTopics)),
      Map.entry("list_offsets", Admins.on(Admins::listOffsets)),
      Map.entry("delete_records", Admins.on(Admins::deleteRecords)),
      Map.entry("describe_cluster", Admins.on(Admins::describeCluster)),
      Map.entry("produce", Produce::run),
      Map.entry("dump", Dump::run),
      Map.entry("compare", Compare::run));

  private KafkaTool() {}

  public static void main(String[] args) throws IOException {
    ExecutorService connections = Executors.newCachedThreadPool();
    try (ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
      // The launcher reads this line.
      System.out.println("KafkaTool listens on port " + listener.getLocalPort());
      while (true) {
        Socket connection = listener.accept();
        connections.execute(() -> serve(connection));
      }
    }
  }

  private static void serve(Socket connection) {
    try (connection) {
      Wire wire = new Wire(connection);
      ObjectNode request = wire.readJson();
      ObjectNode answer;
      try {
        answer = command(request).run(request, wire);
      } catch (IOException gone) {
        throw gone;
      } catch (Exception refused) {
        answer = refusal(refused);
      }
      wire.writeJson(answer);
      wire.flush();
      // A refused request may still be arriving: closing on it would take the answer with it.
      connection.getInputStream().transferTo(OutputStream.nullOutputStream());
    } catch (IOException gone) {
      System.out.println("a connection ended early: " + gone);
    }
  }

  private static Command command(ObjectNode request) {
    Command command = COMMANDS.get(request.get("command").asText());
    if (command == null) {
      throw new IllegalArgumentException("unknown command " + request.get("command"));
    }
    return command;
  }

  private static ObjectNode refusal(Exception refused) {
    Throwable cause = refused;
    // Futures wrap what Kafka answered, the clients' KafkaException sometimes too.
    while (cause.getCause() != null && isWrapper(cause)) {
      cause = cause.getCause();
    }
    ObjectNode answer = Wire.JSON.createObjectNode();
    answer.putObject("error").put("class", cause.getClass().getSimpleName()).put("message", "" + cause.getMessage());
    return answer;
  }

  private static boolean isWrapper(Throwable thrown) {
    return thrown instanceof java.util.concurrent.ExecutionException
        || thrown.getClass() == org.apache.kafka.common.KafkaException.class;
  }

  /** The client properties in a field of a request, over defaults given as key, value, key, value, … */
  static Properties properties(ObjectNode request, String field, String... defaults) {
    Properties properties = new Properties();
    for (int i = 0; i < defaults.length; i += 2) {
      properties.setProperty(defaults[i], defaults[i + 1]);
    }
    request.withObject("/" + field).properties()
        .forEach(entry -> properties.setProperty(entry.getKey(), entry.getValue().asText()));
    return properties;
  }
}
