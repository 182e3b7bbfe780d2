//! Work beside a thread: a helper that carries out its orders one after the other.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};

use crate::pipeline::PipelineError;

/// Starts a thread of this name.
///
/// # Errors
/// [`PipelineError::Thread`] if the system has none.
pub(super) fn start_thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, PipelineError> {
    let thread = Builder::new().name(name.clone()).spawn(work);
    thread.map_err(|error| PipelineError::Thread { name, error })
}

/// A thread that answers each order of its owner, and ends with it.
pub struct Helper<O, A> {
    /// `None` only while it is dropped.
    orders: Option<Sender<O>>,
    answers: Receiver<A>,
    thread: Option<JoinHandle<()>>,
}

impl<O: Send + 'static, A: Send + 'static> Helper<O, A> {
    /// A helper that does this work, on a thread of this name.
    ///
    /// # Errors
    /// [`PipelineError::Thread`] if the system has none for it.
    pub fn new(
        name: String,
        mut work: impl FnMut(O) -> A + Send + 'static,
    ) -> Result<Self, PipelineError> {
        let (orders, taken) = channel();
        let (answer, answers) = channel();
        let carry_out = move || {
            for order in taken {
                if answer.send(work(order)).is_err() {
                    break;
                }
            }
        };
        let thread = start_thread(name, carry_out)?;
        Ok(Self { orders: Some(orders), answers, thread: Some(thread) })
    }

    /// Gives an order.
    pub fn order(&mut self, order: O) {
        let is_taken = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        if !is_taken {
            self.fail()
        }
    }

    /// The answer to the oldest order that has none yet, if it is there.
    pub fn poll(&mut self) -> Option<A> {
        match self.answers.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => self.fail(),
        }
    }

    /// Waits for the answer to the oldest order that has none yet; one must have been given.
    pub fn wait(&mut self) -> A {
        match self.answers.recv() {
            Ok(answer) => answer,
            Err(_) => self.fail(),
        }
    }

    /// The thread ends early only by a panic, which goes on here.
    fn fail<T>(&mut self) -> T {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            _ => unreachable!("a helper lives as long as its owner"),
        }
    }
}

impl<O, A> Drop for Helper<O, A> {
    /// What it was ordered to do is done when it is gone.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been told, or another one is on its way.
            let _ = thread.join();
        }
    }
}
