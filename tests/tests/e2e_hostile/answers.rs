//! Every answer to Produce that a broker may give: in its place, and after the batch was appended all the same.

use std::cell::Cell;
use std::time::Duration;

use copyist_tests::scenario::task_states;
use copyist_tests::stub::{Options, Stub};
use serde_json::json;

use crate::{Between, end, stub, stub_with, tell, trace_of};

/// Records in each partition while nothing has gone wrong, when everything has, and when that is over.
const BEFORE: i64 = 128;
const AMID: i64 = 640;
const BEHIND: i64 = 768;
/// More often than any lane asks.
const ALWAYS: u32 = 1_000;

/// What the destination says, and how often.
#[derive(Clone, Copy)]
struct Said {
    code: i16,
    after: bool,
    times: u32,
}

/// After one of these the lane goes on, by itself and exactly.
const GO_ON: [i16; 24] =
    [45, 46, 47, 90, 59, 7, 20, -1, 3, 5, 6, 9, 13, 19, 56, 74, 75, 78, 100, 10, 18, 2, 999, 35];

/// After one of these the lane waits for a human, and its trace says why.
const STOP: [(i16, u32, &str); 8] = [
    (32, 1, "the destination refuses the batch at source offset 128 (error 32"),
    (87, 1, "the destination refuses the batch at source offset 128 (error 87"),
    (29, 1, "grant WRITE on the destination topic"),
    (31, 1, "grant IDEMPOTENT_WRITE on the destination cluster"),
    (53, 1, "grant WRITE without a transactional id"),
    (2, ALWAYS, "the batch at source offset 128 arrives damaged, also when read again"),
    (10, ALWAYS, "the record at source offset 128 takes"),
    (18, ALWAYS, "the record at source offset 128 takes"),
];

/// What is said to a lane, and how its trace has it when it stops.
type Row = (Option<Said>, Option<&'static str>);

/// One partition for each, and one that is left alone.
fn table() -> Vec<Row> {
    let go_on = GO_ON
        .into_iter()
        .flat_map(|code| [false, true].map(|after| (Some(Said { code, after, times: 1 }), None)));
    let stop = STOP.map(|(code, times, words)| (Some(Said { code, after: false, times }), Some(words)));
    go_on.chain(stop).chain([(None, None)]).collect()
}

fn end_all_at(source: &Stub, topic: &str, partitions: usize, offset: i64) {
    for partition in 0..partitions {
        tell(source, &format!("end {topic} {partition} {offset}"));
    }
}

#[test]
fn after_each_answer_of_the_table_the_lane_goes_on_exactly_or_says_what_is_wrong() {
    let source = Options::default();
    let between = each_answer("answers", source, |_, _| ());
    // While an answer was late, four more batches followed the one that failed.
    assert!(between.destination.counts().refused.contains_key(&45), "no batch was behind a failed one");
}

#[test]
fn so_it_does_with_old_records_whose_producers_are_forgotten_all_the_time() {
    let age = Duration::from_secs(2 * 24 * 3_600);
    let forgotten = Cell::new(0_u64);
    each_answer("old", Options { record_age: age, ..Options::default() }, |destination, partition| {
        tell(destination, &format!("forget-producers old {partition}"));
        forgotten.set(forgotten.get() + 1);
    });
    println!("producers were forgotten {} times", forgotten.get());
}

/// The whole table; `meanwhile` is called for each partition, again and again.
fn each_answer(topic: &str, options: Options, meanwhile: impl Fn(&Stub, i32)) -> Between {
    let table = table();
    let partitions = table.len();
    let source =
        stub_with("source", &[&format!("{topic}:{partitions}:endless:64x1000:none:{BEHIND}")], options);
    end_all_at(&source, topic, partitions, BEFORE);
    let between = Between::start(topic, source, stub("destination", &[]), &[("tasks.max", "1")]);
    let all = || (0..).take(partitions);
    between.wait_partitions(topic, all());

    for (partition, said) in table.iter().enumerate().filter_map(|(at, (said, _))| Some((at, (*said)?))) {
        let Said { code, after, times } = said;
        let after = if after { "after" } else { "" };
        tell(
            &between.destination,
            &format!("inject produce {topic} {partition} error {code} {after} x{times}"),
        );
    }
    tell(&between.destination, "inject produce stall 200 x5");
    end_all_at(&between.source, topic, partitions, AMID);
    between.scenario.wait_status("c", "stopped lanes", |status| {
        all().for_each(|partition| meanwhile(&between.destination, partition));
        task_states(status) == ["FAILED"]
            && stopped(topic, &table, &trace_of(status)).iter().all(Option::is_some)
    });
    let goes_on = || all().zip(&table).filter(|(_, (_, words))| words.is_none()).map(|(at, _)| at);
    between.wait_partitions(topic, goes_on());
    for (partition, _) in (0..).zip(&table).filter(|(_, (_, words))| words.is_some()) {
        assert_eq!(end(&between.destination, topic, partition), BEFORE, "{topic}-{partition}, which stopped");
    }
    let waiting = between.destination.injections_waiting();
    assert_eq!(
        waiting,
        STOP.iter().filter(|(_, times, _)| *times == ALWAYS).count(),
        "answers that none got"
    );
    println!(
        "{} answers given to {partitions} lanes, of which {} stopped; refused by itself: {:?}",
        table.len() - 1 - waiting,
        STOP.len(),
        between.destination.counts().refused
    );

    // The others go on beside those that stopped; after a restart these do as well.
    tell(&between.destination, "clear");
    end_all_at(&between.source, topic, partitions, BEHIND);
    between.wait_partitions(topic, goes_on());
    let restart = between.scenario.copyist.rest().post("/connectors/c/tasks/0/restart", &json!({}));
    between.scenario.expect(204, restart);
    between.wait_partitions(topic, all());
    between.scenario.wait_running("c", 1);
    let copied = between.assert_equal(topic);
    between.assert_honest();
    between.assert_no_panic();
    println!("{copied} records in {partitions} partitions, each once and in order");
    between
}

/// The line of the trace about each lane that is to stop, once it has the right words.
fn stopped<'t>(topic: &str, table: &[Row], trace: &'t str) -> Vec<Option<&'t str>> {
    let rows = (0_i32..).zip(table).filter_map(|(partition, (_, words))| Some((partition, (*words)?)));
    let line_of = |(partition, words): (i32, &str)| {
        let of_lane = |line: &&str| line.contains(&format!("{topic}-{partition}: ")) && line.contains(words);
        trace.lines().find(of_lane)
    };
    rows.map(line_of).collect()
}
