//! The client of tokio programs.

mod driver;
mod events;
mod stream;

pub use events::Events;

use std::sync::Arc;
use std::time::Duration;

use keyward_protocol::operation::OperationClass;
use keyward_protocol::{Operation, OperationCode, Request, cbor};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use crate::blocking::{GRACE, SOFTWARE};
use crate::connection::decode;
use crate::error::{Error, ProtocolError};
use crate::socket::Endpoint;

use driver::{Answer, Driver};

/// A connection to the agent for many tasks at once; clones share it.
///
/// Calls are pipelined. A call whose future is dropped is cancelled. As with
/// [`Client`](crate::Client), a broken connection is replaced before the next call is sent, and
/// only reads are ever repeated.
///
/// ```no_run
/// use keyward_client::AsyncClient;
/// use keyward_client::protocol::operation::Status;
///
/// # async fn status() -> Result<(), keyward_client::Error> {
/// let client = AsyncClient::connect().await?;
/// let (one, two) = tokio::join!(client.call(Status {}), client.call(Status {}));
/// println!("{} has {} keys, twice {}", one?.software, two?.keys, "the same");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AsyncClient {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    software: String,
    waits: Option<Duration>,
    driver: Mutex<Driver>,
    /// For messages that are given in parts.
    streams: Semaphore,
}

impl Shared {
    /// The driver, or a new one if its connection is gone.
    async fn driver(&self) -> Result<MutexGuard<'_, Driver>, Error> {
        let mut driver = self.driver.lock().await;
        if driver.is_gone() {
            *driver = driver::start(&self.endpoint, &self.software, self.waits).await?;
        }
        Ok(driver)
    }
}

impl AsyncClient {
    /// Connects to the agent that the environment names: see [`Endpoint::from_environment`].
    ///
    /// # Errors
    /// The agent can't be reached or is not trusted.
    pub async fn connect() -> Result<Self, Error> {
        Self::connect_to(Endpoint::from_environment()?).await
    }

    /// Connects to an agent.
    ///
    /// # Errors
    /// The agent can't be reached or is not trusted.
    pub async fn connect_to(endpoint: Endpoint) -> Result<Self, Error> {
        Self::connect_as(endpoint, SOFTWARE).await
    }

    /// Connects to an agent under the name of a program and its version, for the agent's log.
    ///
    /// # Errors
    /// The agent can't be reached or is not trusted.
    pub async fn connect_as(endpoint: Endpoint, software: &str) -> Result<Self, Error> {
        Self::connect_and_wait(endpoint, software, None).await
    }

    /// Connects to an agent; each use of a key waits, for so long at the most, for a token that is not
    /// there or is locked. Else such a use is refused at once.
    ///
    /// # Errors
    /// The agent can't be reached or is not trusted.
    pub async fn connect_and_wait(
        endpoint: Endpoint,
        software: &str,
        waits: Option<Duration>,
    ) -> Result<Self, Error> {
        let driver = driver::start(&endpoint, software, waits).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                endpoint,
                software: software.to_owned(),
                waits,
                driver: Mutex::new(driver),
                streams: Semaphore::new(stream::STREAMS),
            }),
        })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn call<O: Operation + Into<Request>>(
        &self,
        operation: O,
    ) -> Result<O::Reply, Error> {
        self.call_once_or_twice(operation, None).await
    }

    /// Asks and waits for the answer, which the agent gives up on after `deadline`.
    ///
    /// # Errors
    /// See [`Error`]; a deadline that passed is a failure of the agent's, `deadline-exceeded`.
    pub async fn call_with_deadline<O: Operation + Into<Request>>(
        &self,
        operation: O,
        deadline: Duration,
    ) -> Result<O::Reply, Error> {
        self.call_once_or_twice(operation, Some(deadline)).await
    }

    async fn call_once_or_twice<O: Operation + Into<Request>>(
        &self,
        operation: O,
        deadline: Option<Duration>,
    ) -> Result<O::Reply, Error> {
        // Only a read is ever repeated: anything else may have been done.
        let again = (O::CODE.class() == OperationClass::Read).then(|| cbor::encode(&operation));
        let answer = self.ask(operation.into(), deadline, None).await;
        let answer = match (answer, again) {
            (Err(Error::OutcomeUnknown { .. } | Error::Io(_)), Some(again)) => {
                let request = Request::decode_body(O::CODE, &again).map_err(|error| {
                    let operation = O::CODE;
                    Error::Protocol(ProtocolError::Reply { operation, error })
                })?;
                self.ask(request, deadline, None).await
            }
            (answer, _) => answer,
        };
        decode::<O>(&answer?).map_err(Error::Protocol)
    }

    /// Asks, over a certain connection if one is named.
    async fn ask(
        &self,
        request: Request,
        deadline: Option<Duration>,
        connection: Option<u64>,
    ) -> Answer {
        let operation = request.code();
        let (answer, cancelled) = {
            let mut driver = self.shared.driver().await?;
            if connection.is_some_and(|number| number != driver.number()) {
                return Err(Error::Io(std::io::ErrorKind::ConnectionReset.into()));
            }
            driver.submit(request, deadline)?
        };
        let answer = async move { answer.await.unwrap_or(Err(unknown(operation))) };
        let answer = match deadline {
            None => answer.await,
            Some(deadline) => tokio::time::timeout(deadline.saturating_add(GRACE), answer)
                .await
                .unwrap_or(Err(Error::OutcomeUnknown {
                    operation,
                    cause: Some(std::io::ErrorKind::TimedOut.into()),
                })),
        };
        drop(cancelled);
        answer
    }
}

/// The end of a request whose answer did not come.
fn unknown(operation: OperationCode) -> Error {
    Error::OutcomeUnknown {
        operation,
        cause: None,
    }
}
