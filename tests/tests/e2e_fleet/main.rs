//! A fleet over real etcd and real Kafka: coordinators, agents and gateways that are killed, stopped and cut off while
//! they copy. Nothing is missing, nothing is there twice, order is kept. Each run tells what happened.

mod failover;
mod neighbours;
mod stage;
mod storm;
mod traces;
