// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Errors: the library's code, and a sentence where the C call gives one.
use fsys_sys as sys;
use std::ffi::CStr;
use std::os::raw::{c_char, c_int};
use std::{fmt, io};

pub(crate) const EBUSY: i32 = 16;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ECANCELED: i32 = 125;
pub(crate) const EAGAIN: i32 = 11;
pub(crate) const ETIMEDOUT: i32 = 110;

/// What a call or an op returned instead of success.
///
/// Converts into [`std::io::Error`] with `?`. A negative errno of the operating system keeps its
/// number and [`io::ErrorKind`]; a condition of the library itself is kept as the source.
#[derive(Clone)]
pub struct Error {
    code: i32,
    text: Option<Box<str>>,
}

/// Result of this crate's calls.
pub type Result<T> = std::result::Result<T, Error>;

/// What an [`Error`] means, for `match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// An errno of the operating system (a positive number).
    Os(i32),
    /// The object is closed or being closed.
    Closed,
    /// The token or ticket was used before.
    Stale,
    /// A sticky failure: see `cause()` of the object. Nothing later is durable.
    Poisoned,
    /// The engine's driver ended after an internal failure. Sticky.
    DriverDead,
    /// Called in a fork child with an object of its parent.
    Forked,
    /// Only the thread that opened a [`LocalEngine`](crate::LocalEngine) may make this call.
    WrongThread,
    /// io_uring was asked for by name and this process cannot have it.
    UringSetup,
    /// Does not fit the file's direct-IO alignment.
    Misaligned,
    /// Nothing is outstanding that an endless wait could see complete.
    Nothing,
    /// End of file came before the exact length.
    Short,
    /// The library is older than this crate in a struct that matters.
    BadStruct,
    /// The library is older than this crate in a flag that matters.
    BadFlag,
    /// The journal holds damage.
    Corrupt,
    /// The storage does not promise the atomicity that was asked for.
    NotAtomic,
    /// Whether the bytes are durable is not known; reopen to learn.
    Unknown,
    /// Somebody else holds the lock.
    Locked,
    /// The data read back differs.
    Mismatch,
    /// A code that is newer than this crate.
    Other(i32),
}

impl Error {
    pub(crate) fn new(code: i32) -> Error {
        Error { code, text: None }
    }

    pub(crate) fn with_text(code: i32, text: impl Into<String>) -> Error {
        let text = text.into();
        Error { code, text: if text.is_empty() { None } else { Some(text.into()) } }
    }

    /// The number as the C library gives it: a negative errno, or below -4096 its own.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// "ENOSPC", "FSYS_E_STALE", ...
    pub fn name(&self) -> &'static str {
        // SAFETY: any code is allowed; the result is static and NUL-terminated.
        unsafe { static_text(sys::fsys_error_name(self.code)) }
    }

    /// The errno, positive, when the operating system is the cause.
    pub fn raw_os_error(&self) -> Option<i32> {
        if (-4095..0).contains(&self.code) {
            Some(-self.code)
        } else {
            None
        }
    }

    /// The meaning, for `match`.
    pub fn kind(&self) -> Kind {
        match self.code {
            code if (-4095..0).contains(&code) => Kind::Os(-code),
            sys::FSYS_E_CLOSED => Kind::Closed,
            sys::FSYS_E_STALE => Kind::Stale,
            sys::FSYS_E_POISONED => Kind::Poisoned,
            sys::FSYS_E_DRIVER_DEAD => Kind::DriverDead,
            sys::FSYS_E_FORKED => Kind::Forked,
            sys::FSYS_E_WRONG_THREAD => Kind::WrongThread,
            sys::FSYS_E_URING_SETUP => Kind::UringSetup,
            sys::FSYS_E_MISALIGNED => Kind::Misaligned,
            sys::FSYS_E_NOTHING => Kind::Nothing,
            sys::FSYS_E_SHORT => Kind::Short,
            sys::FSYS_E_BAD_STRUCT => Kind::BadStruct,
            sys::FSYS_E_BAD_FLAG => Kind::BadFlag,
            sys::FSYS_E_CORRUPT => Kind::Corrupt,
            sys::FSYS_E_NOT_ATOMIC => Kind::NotAtomic,
            sys::FSYS_E_UNKNOWN => Kind::Unknown,
            sys::FSYS_E_LOCKED => Kind::Locked,
            sys::FSYS_E_MISMATCH => Kind::Mismatch,
            code => Kind::Other(code),
        }
    }

    fn sentence(&self) -> &str {
        match &self.text {
            Some(text) => text,
            // SAFETY: any code is allowed; the result is static and NUL-terminated.
            None => unsafe { static_text(sys::fsys_strerror(self.code)) },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.sentence(), self.name())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}, {}: {})", self.code, self.name(), self.sentence())
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Error) -> bool {
        self.code == other.code
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error.raw_os_error() {
            Some(number) if error.text.is_none() => io::Error::from_raw_os_error(number),
            Some(number) => io::Error::new(io::Error::from_raw_os_error(number).kind(), error),
            None if error.code == sys::FSYS_E_SHORT => {
                io::Error::new(io::ErrorKind::UnexpectedEof, error)
            }
            None => io::Error::new(io::ErrorKind::Other, error),
        }
    }
}

/// # Safety
/// `text` is static and NUL-terminated, or NULL.
pub(crate) unsafe fn static_text(text: *const c_char) -> &'static str {
    if text.is_null() {
        return "?";
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("?")
}

/// 0 or a count is success.
pub(crate) fn check(code: c_int) -> Result<u32> {
    if code < 0 {
        Err(Error::new(code))
    } else {
        Ok(code as u32)
    }
}

/// As [`check`] for calls that return 64 bits; codes fit 32.
#[inline]
pub(crate) fn check_count(code: i64) -> Result<usize> {
    if code < 0 {
        Err(Error::new(code as i32))
    } else {
        Ok(code as usize)
    }
}

/// Calls with room for the library's sentence, which becomes part of the error.
pub(crate) fn check_with_text(call: impl FnOnce(*mut c_char, usize) -> c_int) -> Result<u32> {
    let mut text = [0 as c_char; 512];
    let code = call(text.as_mut_ptr(), text.len());
    if code < 0 {
        Err(Error::with_text(code, from_chars(&text)))
    } else {
        Ok(code as u32)
    }
}

/// Text of a C char array, up to its NUL.
pub(crate) fn from_chars(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The sentence of a call like fsys_cause(); None when there was no failure.
pub(crate) fn cause(call: impl FnOnce(*mut c_char, usize) -> c_int) -> Option<String> {
    let mut text = [0 as c_char; 512];
    if call(text.as_mut_ptr(), text.len()) <= 0 {
        return None;
    }
    Some(from_chars(&text))
}
