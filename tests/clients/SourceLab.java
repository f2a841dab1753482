import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Predicate;
import org.sourcelab.kafka.connect.apiclient.Configuration;
import org.sourcelab.kafka.connect.apiclient.KafkaConnectClient;
import org.sourcelab.kafka.connect.apiclient.request.dto.ConnectServerVersion;
import org.sourcelab.kafka.connect.apiclient.request.dto.ConnectorDefinition;
import org.sourcelab.kafka.connect.apiclient.request.dto.ConnectorPlugin;
import org.sourcelab.kafka.connect.apiclient.request.dto.ConnectorPluginConfigDefinition;
import org.sourcelab.kafka.connect.apiclient.request.dto.ConnectorPluginConfigValidationResults;
import org.sourcelab.kafka.connect.apiclient.request.dto.ConnectorStatus;
import org.sourcelab.kafka.connect.apiclient.request.dto.NewConnectorDefinition;
import org.sourcelab.kafka.connect.apiclient.request.dto.Task;
import org.sourcelab.kafka.connect.apiclient.request.post.PostConnectorRestart;

/** The typed client org.sourcelab:kafka-connect-client 4.0.5, method by method. Facts and rows as in report.py. */
public final class SourceLab {
    private static final long LIMIT_NANOS = 30_000_000_000L;
    private static Map<String, Object> facts;
    private static Map<String, String> config;
    private static String name;
    private static KafkaConnectClient client;

    @SuppressWarnings("unchecked")
    public static void main(String[] args) throws Exception {
        facts = new ObjectMapper().readValue(new File(args[0]), Map.class);
        config = (Map<String, String>) facts.get("config");
        name = fact("name");
        client = new KafkaConnectClient(new Configuration(fact("url")));
        create();
        read();
        act();
        end();
    }

    private static void create() {
        row("getConnectServerVersion", () -> {
            ConnectServerVersion version = client.getConnectServerVersion();
            return same("version", version.getVersion(), fact("server_version")) + ", "
                    + same("cluster id", version.getKafkaClusterId(), fact("cluster_id"));
        });
        row("getConnectorPlugins", () -> {
            List<String> found = new ArrayList<>();
            for (ConnectorPlugin plugin : client.getConnectorPlugins()) {
                if (plugin.getClassName().replaceAll("Connector$", "").endsWith(fact("class").replaceAll("Connector$", ""))) {
                    found.add(plugin.getType() + " " + same("version", plugin.getVersion(), fact("version")));
                }
            }
            return found;
        });
        row("validateConnectorPluginConfig", () -> validated(Map.of("name", name)));
        row("validateConnectorPluginConfig, bad", () -> validated(Map.of("name", name, "tasks.max", "0")));
        // Copyist says that this has no effect there: a field more.
        row("validateConnectorPluginConfig, without effect",
                () -> validated(Map.of("name", name, "errors.tolerance", "all")));
        row("addConnector", () -> shown(client.addConnector(definition(config))));
        row("addConnector, again", () -> shown(client.addConnector(definition(config))));
        row("addConnector, bad", () -> shown(client.addConnector(definition(with(Map.of("tasks.max", "0"))))));
        row("getConnectorStatus", () -> until("RUNNING", 1));
    }

    private static void read() {
        row("getConnectors", () -> client.getConnectors().contains(name));
        row("getConnectorsWithExpandedStatus",
                () -> shown(client.getConnectorsWithExpandedStatus().getStatusForConnector(name)));
        row("getConnectorsWithExpandedInfo",
                () -> shown(client.getConnectorsWithExpandedInfo().getDefinitionForConnector(name)));
        row("getConnectorsWithAllExpandedMetadata", () -> {
            var all = client.getConnectorsWithAllExpandedMetadata();
            return shown(all.getStatusForConnector(name)) + "; " + shown(all.getDefinitionForConnector(name));
        });
        row("getConnector", () -> shown(client.getConnector(name)));
        row("getConnectorConfig", () -> sent(client.getConnectorConfig(name), Map.of()));
        row("getConnectorTasks", () -> {
            List<String> tasks = new ArrayList<>();
            for (Task task : client.getConnectorTasks(name)) {
                tasks.add(task.getId().getTask() + " with task.class " + task.getConfig().containsKey("task.class"));
            }
            return tasks;
        });
        row("getConnectorTaskStatus", () -> {
            var status = client.getConnectorTaskStatus(name, 0);
            return status.getId() + " " + status.getState() + ", " + same("worker", status.getWorkerId(), fact("worker"))
                    + ", trace " + status.getTrace();
        });
        row("getConnectorTopics", () -> {
            List<String> wanted = List.of(fact("topic"));
            var topics = waited(() -> client.getConnectorTopics(name), it -> it.getTopics().equals(wanted));
            return same("name", topics.getName(), name) + ", " + topics.getTopics().equals(wanted);
        });
        row("resetConnectorTopics", () -> client.resetConnectorTopics(name));
    }

    private static void act() {
        row("restartConnector", () -> client.restartConnector(name));
        row("restartConnector, with tasks",
                () -> client.restartConnector(new PostConnectorRestart(name).withIncludeTasks(true)));
        row("getConnectorStatus, restarted", () -> until("RUNNING", 1));
        row("restartConnectorTask", () -> client.restartConnectorTask(name, 0));
        row("restartConnectorTask, unknown", () -> client.restartConnectorTask(name, 9));
        row("pauseConnector", () -> client.pauseConnector(name));
        row("getConnectorStatus, paused", () -> until("PAUSED", 1));
        row("resumeConnector", () -> client.resumeConnector(name));
        row("getConnectorStatus, resumed", () -> until("RUNNING", 1));
        row("updateConnectorConfig", () -> shown(client.updateConnectorConfig(name, with(Map.of("a", "b"))), Map.of("a", "b")));
        row("getConnectorConfig, updated", () -> sent(client.getConnectorConfig(name), Map.of("a", "b")));
        row("getConnectorStatus, updated", () -> until("RUNNING", 1));
        row("stopConnector", () -> client.stopConnector(name));
        row("getConnectorStatus, stopped", () -> until("STOPPED", 0));
    }

    private static void end() {
        row("deleteConnector", () -> client.deleteConnector(name));
        row("getConnector, deleted", () -> shown(client.getConnector(name)));
        row("getConnectorStatus, deleted", () -> {
            long end = System.nanoTime() + LIMIT_NANOS;
            ConnectorStatus last = client.getConnectorStatus(name);
            while (System.nanoTime() < end) {
                Thread.sleep(100);
                last = client.getConnectorStatus(name);
            }
            return shown(last);
        });
        row("pauseConnector, deleted", () -> client.pauseConnector(name));
        row("deleteConnector, again", () -> client.deleteConnector(name));
    }

    private static String fact(String key) {
        return (String) facts.get(key);
    }

    private static void row(String call, Callable<Object> outcome) {
        String text;
        try {
            text = String.valueOf(outcome.call());
        } catch (Exception error) {
            text = error.getClass().getSimpleName() + ": " + error.getMessage();
        }
        System.out.println(call + " | " + text.replace(name, "NAME").replaceAll("\\s+", " "));
    }

    private static NewConnectorDefinition definition(Map<String, String> config) {
        return NewConnectorDefinition.newBuilder().withName(name).withConfig(config).build();
    }

    private static Map<String, String> with(Map<String, String> more) {
        Map<String, String> all = new HashMap<>(config);
        all.putAll(more);
        return all;
    }

    private static String validated(Map<String, String> more) {
        String plugin = fact("class");
        ConnectorPluginConfigValidationResults results = client.validateConnectorPluginConfig(
                ConnectorPluginConfigDefinition.newBuilder().withName(plugin).withConfig(with(more)).build());
        List<String> errors = new ArrayList<>();
        for (var entry : results.getConfigs()) {
            errors.addAll(entry.getValue().getErrors());
        }
        return same("name", results.getName(), plugin) + ", " + results.getErrorCount() + " errors " + errors + ", groups "
                + results.getGroups().contains("Common");
    }

    private static String same(String what, String value, String fact) {
        return what + (fact.equals(value) ? " as it is" : " " + value);
    }

    private static String sent(Map<String, String> got, Map<String, String> more) {
        Map<String, String> wanted = with(more);
        wanted.put("name", name);
        return wanted.equals(got) ? "config as sent" : "config " + got;
    }

    private static String shown(ConnectorDefinition connector) {
        return shown(connector, Map.of());
    }

    private static String shown(ConnectorDefinition connector, Map<String, String> more) {
        List<String> tasks = new ArrayList<>();
        for (var task : connector.getTasks()) {
            tasks.add(task.getConnector().equals(name) + "-" + task.getTask());
        }
        return same("name", connector.getName(), name) + ", " + sent(connector.getConfig(), more) + ", tasks " + tasks + ", "
                + connector.getType();
    }

    private static String shown(ConnectorStatus status) {
        List<String> tasks = new ArrayList<>();
        for (var task : status.getTasks()) {
            tasks.add(task.getId() + " " + task.getState());
        }
        return status.getConnector().get("state") + ", tasks " + tasks + ", "
                + same("worker", status.getConnector().get("worker_id"), fact("worker")) + ", " + status.getType();
    }

    private static String until(String state, int tasks) throws Exception {
        return shown(waited(() -> client.getConnectorStatus(name), status ->
                state.equals(status.getConnector().get("state")) && status.getTasks().size() == tasks
                        && status.getTasks().stream().allMatch(task -> state.equals(task.getState()))));
    }

    /** Asks until the answer is as wanted, for half a minute at most, and returns the last answer or throws the last error. */
    private static <T> T waited(Callable<T> ask, Predicate<T> wanted) throws Exception {
        long end = System.nanoTime() + LIMIT_NANOS;
        while (true) {
            try {
                T answer = ask.call();
                if (wanted.test(answer) || System.nanoTime() > end) {
                    return answer;
                }
            } catch (RuntimeException error) {
                if (System.nanoTime() > end) {
                    throw error;
                }
            }
            Thread.sleep(100);
        }
    }
}
