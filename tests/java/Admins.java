import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The commands of Kafka's admin client. */
final class Admins {
  private static final long SEEN_LIMIT_MS = 15_000;
  private static final long SEEN_POLL_MS = 20;

  interface Call {
    ObjectNode run(Admin admin, ObjectNode request) throws Exception;
  }

  private Admins() {}

  static KafkaTool.Command on(Call call) {
    return (request, wire) -> {
      try (Admin admin = Admin.create(KafkaTool.properties(request, "properties",
          "default.api.timeout.ms", "20000", "request.timeout.ms", "10000"))) {
        return call.run(admin, request);
      }
    };
  }

  static ObjectNode createTopic(Admin admin, ObjectNode request) throws Exception {
    String topic = request.get("topic").asText();
    NewTopic created = new NewTopic(topic, Optional.of(request.get("partitions").asInt()),
        Optional.of((short) request.get("replication_factor").asInt()));
    admin.createTopics(List.of(created.configs(texts(request, "configs")))).all().get();
    return awaitPartitions(admin, topic, request.get("partitions").asInt());
  }

  static ObjectNode createPartitions(Admin admin, ObjectNode request) throws Exception {
    String topic = request.get("topic").asText();
    int partitions = request.get("partitions").asInt();
    admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(partitions))).all().get();
    return awaitPartitions(admin, topic, partitions);
  }

  static ObjectNode deleteTopic(Admin admin, ObjectNode request) throws Exception {
    String topic = request.get("topic").asText();
    admin.deleteTopics(List.of(topic)).all().get();
    return awaitPartitions(admin, topic, 0);
  }

  /** The controller has answered; a broker learns it a moment later. */
  private static ObjectNode awaitPartitions(Admin admin, String topic, int expected) throws Exception {
    long end = System.nanoTime() + SEEN_LIMIT_MS * 1_000_000;
    while (ready(admin, topic) != expected) {
      if (System.nanoTime() > end) {
        throw new IllegalStateException(topic + " has not come to " + expected + " partitions with a leader");
      }
      Thread.sleep(SEEN_POLL_MS);
    }
    if (expected > 0) {
      // A broker tells that it leads a moment before it does: of a producer's requests it may refuse the first and take
      // the second, and then the first never comes through. Only a leader answers this.
      offsets(admin, topic, OffsetSpec.latest());
    }
    return Wire.JSON.createObjectNode();
  }

  private static long ready(Admin admin, String topic) throws Exception {
    try {
      return describe(admin, topic).partitions().stream()
          .filter(partition -> partition.leader() != null && !partition.leader().isEmpty()).count();
    } catch (ExecutionException refused) {
      if (refused.getCause() instanceof UnknownTopicOrPartitionException) {
        return 0;
      }
      throw refused;
    }
  }

  private static TopicDescription describe(Admin admin, String topic) throws Exception {
    return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
  }

  static ObjectNode describeTopic(Admin admin, ObjectNode request) throws Exception {
    TopicDescription description = describe(admin, request.get("topic").asText());
    ObjectNode answer = Wire.JSON.createObjectNode();
    answer.put("topic", description.name()).put("topic_id", description.topicId().toString());
    ArrayNode partitions = answer.putArray("partitions");
    for (TopicPartitionInfo partition : description.partitions()) {
      ObjectNode one = partitions.addObject();
      one.put("partition", partition.partition());
      one.put("leader", partition.leader() == null ? -1 : partition.leader().id());
      ids(one.putArray("replicas"), partition.replicas());
      ids(one.putArray("isr"), partition.isr());
    }
    return answer;
  }

  private static void ids(ArrayNode array, Collection<Node> nodes) {
    nodes.forEach(node -> array.add(node.id()));
  }

  /** Only what was set for this topic. */
  static ObjectNode topicConfigs(Admin admin, ObjectNode request) throws Exception {
    ConfigResource resource = resource(request);
    ObjectNode answer = Wire.JSON.createObjectNode();
    ObjectNode configs = answer.putObject("configs");
    for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
      if (entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG) {
        configs.put(entry.name(), entry.value());
      }
    }
    return answer;
  }

  static ObjectNode alterTopicConfigs(Admin admin, ObjectNode request) throws Exception {
    List<AlterConfigOp> changes = new ArrayList<>();
    texts(request, "set").forEach((name, value) ->
        changes.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
    request.withArray("/delete").forEach(name ->
        changes.add(new AlterConfigOp(new ConfigEntry(name.asText(), null), AlterConfigOp.OpType.DELETE)));
    admin.incrementalAlterConfigs(Map.of(resource(request), changes)).all().get();
    return Wire.JSON.createObjectNode();
  }

  static ObjectNode listTopics(Admin admin, ObjectNode request) throws Exception {
    ListTopicsOptions options = new ListTopicsOptions().listInternal(request.get("internal").asBoolean());
    ObjectNode answer = Wire.JSON.createObjectNode();
    ArrayNode topics = answer.putArray("topics");
    admin.listTopics(options).names().get().stream().sorted().forEach(topics::add);
    return answer;
  }

  static ObjectNode listOffsets(Admin admin, ObjectNode request) throws Exception {
    String topic = request.get("topic").asText();
    boolean earliest = request.get("earliest").asBoolean();
    ObjectNode answer = Wire.JSON.createObjectNode();
    ObjectNode offsets = answer.putObject("offsets");
    offsets(admin, topic, earliest ? OffsetSpec.earliest() : OffsetSpec.latest())
        .forEach((partition, found) -> offsets.put("" + partition.partition(), found.offset()));
    return answer;
  }

  /** Of each partition, from its leader. */
  private static Map<TopicPartition, ListOffsetsResult.ListOffsetsResultInfo> offsets(
      Admin admin, String topic, OffsetSpec which) throws Exception {
    Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
    for (TopicPartitionInfo partition : describe(admin, topic).partitions()) {
      asked.put(new TopicPartition(topic, partition.partition()), which);
    }
    return admin.listOffsets(asked).all().get();
  }

  static ObjectNode deleteRecords(Admin admin, ObjectNode request) throws Exception {
    TopicPartition partition =
        new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
    RecordsToDelete before = RecordsToDelete.beforeOffset(request.get("before_offset").asLong());
    admin.deleteRecords(Map.of(partition, before)).all().get();
    return Wire.JSON.createObjectNode();
  }

  static ObjectNode describeCluster(Admin admin, ObjectNode request) throws Exception {
    DescribeClusterResult cluster = admin.describeCluster();
    ObjectNode answer = Wire.JSON.createObjectNode();
    answer.put("cluster_id", cluster.clusterId().get()).put("brokers", cluster.nodes().get().size());
    return answer;
  }

  private static ConfigResource resource(ObjectNode request) {
    return new ConfigResource(ConfigResource.Type.TOPIC, request.get("topic").asText());
  }

  private static Map<String, String> texts(ObjectNode request, String field) {
    Map<String, String> texts = new HashMap<>();
    request.withObject("/" + field).properties()
        .forEach(entry -> texts.put(entry.getKey(), entry.getValue().asText()));
    return texts;
  }
}
