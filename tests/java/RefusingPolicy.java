import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.CreateTopicPolicy;

/** A broker's policy that refuses topics with a compression.type of their own, as an operator's would. */
public final class RefusingPolicy implements CreateTopicPolicy {
  @Override
  public void configure(Map<String, ?> configs) {}

  @Override
  public void validate(RequestMetadata request) {
    if (request.configs().containsKey("compression.type")) {
      throw new PolicyViolationException("compression.type is the broker's business");
    }
  }

  @Override
  public void close() {}
}
