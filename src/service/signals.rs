//! SIGTERM and SIGINT, during a start as well.
//!
//! The first process of a container gets only signals that it asks for, so they are asked for before stores
//! are opened or brokers waited for, which can take minutes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What a shell says of a process that ended by a signal, less the signal's number.
const ENDED_BY_SIGNAL: i32 = 128;

/// The signals that ask the process to end.
pub struct Signals {
    /// While it is set, they end the process at once: what is stored is whole at any time.
    is_starting: Arc<AtomicBool>,
    has_come: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the signals of this process over. Until [`Signals::start_is_over`] each ends it, with the code
    /// that shells give for a process that a signal ended.
    ///
    /// # Errors
    /// What the system says.
    pub fn take() -> io::Result<Self> {
        let (is_starting, has_come) = (Arc::new(AtomicBool::new(true)), Arc::default());
        for signal in [SIGTERM, SIGINT] {
            let code = ENDED_BY_SIGNAL + signal;
            flag::register_conditional_shutdown(signal, code, Arc::clone(&is_starting))?;
            flag::register(signal, Arc::clone(&has_come))?;
        }
        Ok(Self { is_starting, has_come })
    }

    /// From now on a signal is noted, for who asks whether one has come.
    pub fn start_is_over(&self) {
        self.is_starting.store(false, Ordering::SeqCst);
    }

    /// Whether one has come.
    pub fn have_come(&self) -> bool {
        self.has_come.load(Ordering::SeqCst)
    }
}
