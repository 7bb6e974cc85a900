//! The figures.

mod cpu;
mod envelope;
pub(crate) mod files;
mod latency;
mod memory;
mod one;
mod pipelined;
mod piv;
mod start;
mod stuck;
mod tpm;

use super::report::Report;

/// Something that is measured, by the name for `make bench BENCH=NAME`.
pub(crate) struct Figure {
    /// Its name, and how the names of its lines begin.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// Measures it.
    pub(crate) measure: fn(&mut Report),
}

/// All of them, in their order.
pub(crate) const FIGURES: &[Figure] = &[
    Figure {
        name: "sign-p256-pipelined",
        about: "P-256 signatures a second, many requests under way",
        measure: pipelined::measure,
    },
    Figure {
        name: "sign-p256-one",
        about: "a P-256 signature, one client, one at a time, the worker spins",
        measure: one::measure,
    },
    Figure {
        name: "sign-p256-one-nospin",
        about: "the same, the worker does not spin",
        measure: one::measure_without_spin,
    },
    Figure {
        name: "cpu",
        about: "processor time for a P-256 signature, agent and worker apart",
        measure: cpu::measure,
    },
    Figure {
        name: "envelope",
        about: "data keys, decrypt, unwrap, encrypt 4 KiB and HPKE",
        measure: envelope::measure,
    },
    Figure {
        name: "tpm",
        about: "a TPM of swtpm through keyward and through tss-esapi alone",
        measure: tpm::measure,
    },
    Figure {
        name: "piv",
        about: "a virtual PIV card through keyward and through pcsc alone",
        measure: piv::measure,
    },
    Figure {
        name: "memory",
        about: "resident memory of keywardd",
        measure: memory::measure,
    },
    Figure {
        name: "start",
        about: "from starting keywardd to the first signature",
        measure: start::measure,
    },
    Figure {
        name: "stuck",
        about: "one token while another is stuck for 10 s",
        measure: stuck::measure,
    },
    Figure {
        name: "files",
        about: "a file of 2 GiB in the age format, beside openssl speed on one core",
        measure: files::measure,
    },
    Figure {
        name: "latency",
        about: "all operations, 1 to 32 clients, pipelined and not",
        measure: latency::measure,
    },
];
