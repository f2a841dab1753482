//! Tables of plain text.

use copyist_tests::Progress;

use crate::usage::Cpu;

/// One measurement of a copier.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub seconds: f64,
    pub records: u64,
    /// Keys and values, uncompressed.
    pub payload_bytes: u64,
    /// Batches, as they arrived.
    pub wire_bytes: u64,
    pub cpu: Cpu,
    pub peak_bytes: u64,
    /// CPU of source and destination, in seconds; where they were not looked at, 0.
    pub cluster_cpu: [f64; 2],
}

impl Measured {
    pub fn gb(&self) -> f64 {
        self.payload_bytes as f64 / 1e9
    }

    pub fn gb_per_second(&self) -> f64 {
        self.gb() / self.seconds
    }

    pub fn records_per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    pub fn cpu_per_gb(&self) -> f64 {
        self.cpu.total() / self.gb()
    }

    /// Wall rate, wire rate, records, CPU per GB (all, user, system), CPU per record, peak memory, CPU-s/GB of both
    /// clusters.
    pub fn cells(&self) -> Vec<String> {
        vec![
            format!("{:.3}", self.gb_per_second()),
            format!("{:.3}", self.wire_bytes as f64 / 1e9 / self.seconds),
            format!("{:.3}", self.records_per_second() / 1e6),
            format!("{:.3}", self.cpu_per_gb()),
            format!("{:.3}", self.cpu.user / self.gb()),
            format!("{:.3}", self.cpu.system / self.gb()),
            format!("{:.4}", self.cpu.total() * 1e6 / self.records as f64),
            format!("{:.0}", self.peak_bytes as f64 / 1e6),
            format!("{:.3}", self.cluster_cpu[0] / self.gb()),
            format!("{:.3}", self.cluster_cpu[1] / self.gb()),
        ]
    }
}

/// The headings of [`Measured::cells`].
pub const HEADINGS: [&str; 10] = [
    "GB/s",
    "wire GB/s",
    "M rec/s",
    "CPU-s/GB",
    "user",
    "system",
    "CPU-us/rec",
    "peak MB",
    "source",
    "dest.",
];

/// Rows under headings; the first column is to the left, the others to the right.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(headings: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table { rows: vec![headings.into_iter().map(Into::into).collect()] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub fn print(&self) {
        self.lines().into_iter().for_each(|line| Progress::Terminal.say(line));
    }

    fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            let cells = self.rows.iter().filter_map(move |row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["", "a", "bc"]);
        table.row(["name", "10", "2"]);
        assert_eq!(table.lines(), ["       a  bc", "name  10   2"]);
    }

    #[test]
    fn figures_are_per_gigabyte_and_record() {
        let cpu = Cpu { user: 1.0, system: 3.0 };
        let measured = Measured {
            seconds: 2.0,
            records: 4_000_000,
            payload_bytes: 8_000_000_000,
            wire_bytes: 2_000_000_000,
            cpu,
            peak_bytes: 50_000_000,
            cluster_cpu: [4.0, 8.0],
        };
        let expected =
            ["4.000", "1.000", "2.000", "0.500", "0.125", "0.375", "1.0000", "50", "0.500", "1.000"];
        assert_eq!(measured.cells(), expected);
    }
}
