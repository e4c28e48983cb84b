//! A plan with very many steps is read in a time that grows with its length, not with its square.

use crate::types::read;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// A chain with references, so that every step has edges and templates.
pub fn chain(steps: usize) -> String {
    let mut text =
        String::from("name: large\nparams: { dir: { type: path, default: /mnt } }\npools: { p: 4 }\nsteps:\n");
    for at in 0..steps {
        let _ = write!(
            text,
            "  step_{at}:\n    pool: p\n    env: {{ DIR: \"{{{{params.dir}}}}/{at}\" }}\n    retry: {{ attempts: 3, delay: 10s }}\n"
        );
        if at > 0 {
            let _ = writeln!(text, "    needs: [step_{}]", at - 1);
        }
        let _ = write!(text, "    run: |\n      echo \"$DIR\"\n      date\n    timeout: 5m\n");
    }
    text
}

fn time(steps: usize) -> Duration {
    let text = chain(steps);
    let start = Instant::now();
    let loaded = read(&text);
    assert_eq!(loaded.plan.map(|plan| plan.steps.len()), Some(steps));
    start.elapsed()
}

#[test]
fn ten_thousand_steps_cost_about_ten_times_a_thousand() {
    time(100);
    let small = time(1_000);
    let large = time(10_000);
    eprintln!("1,000 steps: {small:?}; 10,000 steps: {large:?}");
    assert!(large < small * 40, "1,000 steps take {small:?}, 10,000 take {large:?}");
}
