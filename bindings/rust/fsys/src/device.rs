// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What lies underneath a file, and flushing it.
use crate::error::{check, from_chars, Error, Result};
use crate::file::File;
use crate::path_to_c;
use fsys_sys as sys;
use std::mem::{size_of, zeroed};
use std::os::raw::c_int;
use std::os::unix::io::{AsFd, AsRawFd};
use std::path::Path;

/// An honest answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Nobody says, or this process may not ask.
    Unknown,
    /// No.
    No,
    /// Yes.
    Yes,
}

impl Answer {
    fn from_c(raw: u32) -> Answer {
        match raw {
            sys::FSYS_ANSWER_NO => Answer::No,
            sys::FSYS_ANSWER_YES => Answer::Yes,
            _ => Answer::Unknown,
        }
    }
}

/// What a block device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceKind {
    /// None of the following.
    Unknown,
    /// A part of the device below it.
    Partition,
    /// device-mapper: LVM, dm-crypt, multipath.
    Mapper,
    /// Linux software RAID.
    Md,
    /// A file as a block device; what holds the file follows.
    Loop,
    /// An NVMe namespace.
    Nvme,
    /// SCSI, SAS, SATA or USB.
    Scsi,
    /// A virtual disk: what it promises is up to its host.
    Virtio,
    /// zram, RAM disk: gone with the power.
    Memory,
    /// Another disk.
    Other,
}

/// A block device underneath a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Device {
    /// The kernel's: "nvme0n1p2", "dm-0".
    pub name: String,
    /// Model of a disk, name of a mapping, backing file of a loop device; or "".
    pub label: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Place in [`Probe::devices`] of the (first) device that lies on this one; None: the file
    /// system does.
    pub above: Option<usize>,
    /// Smallest unit that can be addressed, bytes.
    pub logical_block: u32,
    /// Smallest unit that is written without reading first, bytes.
    pub physical_block: u32,
    /// The kernel treats its cache as volatile, and sends flushes.
    pub volatile_cache: Answer,
    /// Can write through its cache.
    pub fua: Answer,
    /// What it has acknowledged survives a power cut without a flush.
    pub power_loss_protection: Answer,
    /// NVMe: longest aligned write that a power cut leaves whole, bytes; 0 unknown.
    pub atomic_power_fail: u32,
    /// What the answers rest on, as a sentence.
    pub evidence: String,
}

/// What lies underneath a file: `fsys_probe_report` of `fsys/device.h` has more, see [`Probe::raw`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Probe {
    /// "ext4", "xfs", ...; "?" when unknown.
    pub file_system: String,
    /// All devices that hold the file's bytes were found.
    pub complete: Answer,
    /// A device that holds its bytes has a volatile cache.
    pub volatile_cache: Answer,
    /// A flush of the file system gets through to every volatile cache.
    pub flush_reaches: Answer,
    /// What the disks have acknowledged survives a power cut without a flush.
    pub power_loss_protection: Answer,
    /// O_DIRECT is possible.
    pub direct: Answer,
    /// This process may send the disks a flush of its own.
    pub passthrough: Answer,
    /// What a sync really does here, as a sentence.
    pub sync_text: String,
    /// The same of [`device_flush`].
    pub flush_text: String,
    /// From the file system downwards, each before those that it lies on.
    pub devices: Vec<Device>,
    /// Everything, as C has it.
    pub raw: Box<sys::fsys_probe_report>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("file_system", &self.file_system)
            .field("sync_text", &self.sync_text)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

fn device(raw: &sys::fsys_probe_device) -> Device {
    Device {
        name: from_chars(&raw.name),
        label: from_chars(&raw.label),
        kind: match raw.kind {
            sys::FSYS_DEVICE_PARTITION => DeviceKind::Partition,
            sys::FSYS_DEVICE_MAPPER => DeviceKind::Mapper,
            sys::FSYS_DEVICE_MD => DeviceKind::Md,
            sys::FSYS_DEVICE_LOOP => DeviceKind::Loop,
            sys::FSYS_DEVICE_NVME => DeviceKind::Nvme,
            sys::FSYS_DEVICE_SCSI => DeviceKind::Scsi,
            sys::FSYS_DEVICE_VIRTIO => DeviceKind::Virtio,
            sys::FSYS_DEVICE_MEMORY => DeviceKind::Memory,
            sys::FSYS_DEVICE_OTHER => DeviceKind::Other,
            _ => DeviceKind::Unknown,
        },
        above: usize::try_from(raw.above).ok(),
        logical_block: raw.logical_block,
        physical_block: raw.physical_block,
        volatile_cache: Answer::from_c(raw.volatile_cache),
        fua: Answer::from_c(raw.fua),
        power_loss_protection: Answer::from_c(raw.power_loss_protection),
        atomic_power_fail: raw.atomic_power_fail,
        evidence: from_chars(&raw.evidence),
    }
}

fn probe_with(call: impl FnOnce(*mut sys::fsys_probe_report) -> c_int) -> Result<Probe> {
    // SAFETY: all-zero is a valid fsys_probe_report.
    let mut raw: Box<sys::fsys_probe_report> = Box::new(unsafe { zeroed() });
    raw.struct_size = size_of::<sys::fsys_probe_report>() as u32;
    check(call(&mut *raw))?;
    let listed = raw.device_count.min(sys::FSYS_PROBE_DEVICES) as usize;
    Ok(Probe {
        file_system: from_chars(&raw.file_system),
        complete: Answer::from_c(raw.complete),
        volatile_cache: Answer::from_c(raw.volatile_cache),
        flush_reaches: Answer::from_c(raw.flush_reaches),
        power_loss_protection: Answer::from_c(raw.power_loss_protection),
        direct: Answer::from_c(raw.direct),
        passthrough: Answer::from_c(raw.passthrough),
        sync_text: from_chars(&raw.sync_text),
        flush_text: from_chars(&raw.flush_text),
        devices: raw.devices[..listed].iter().map(device).collect(),
        raw,
    })
}

/// Tells what lies underneath a file, directory or block device. What cannot be found out is
/// [`Answer::Unknown`], never an error.
pub fn probe(path: impl AsRef<Path>) -> Result<Probe> {
    let path = path_to_c(path.as_ref())?;
    // SAFETY: path and report (which states its size) live through the call.
    probe_with(|report| unsafe { sys::fsys_probe(path.as_ptr(), 0, report) })
}

/// [`probe`] of what a descriptor names.
pub fn probe_fd(fd: impl AsFd) -> Result<Probe> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the report, which states its size, lives through the call.
    probe_with(|report| unsafe { sys::fsys_probe_fd(fd, 0, report) })
}

/// What a device flush did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Flushed {
    /// Disks underneath the file.
    pub devices: u32,
    /// The outcome as a sentence.
    pub text: String,
}

fn flush_with(call: impl FnOnce(*mut sys::fsys_flush_report) -> c_int) -> Result<Flushed> {
    // SAFETY: all-zero is a valid fsys_flush_report.
    let mut raw: sys::fsys_flush_report = unsafe { zeroed() };
    raw.struct_size = size_of::<sys::fsys_flush_report>() as u32;
    let code = call(&mut raw);
    let text = from_chars(&raw.text);
    if code < 0 {
        return Err(Error::with_text(code, text));
    }
    Ok(Flushed { devices: raw.devices, text })
}

/// Makes a file durable down to the device's own flush: fsync of the file, then a flush command to
/// each disk underneath, its status checked. The error says when only the second part failed.
pub fn device_flush(path: impl AsRef<Path>) -> Result<Flushed> {
    let path = path_to_c(path.as_ref())?;
    // SAFETY: path and report (which states its size) live through the call.
    flush_with(|report| unsafe { sys::fsys_device_flush(path.as_ptr(), 0, report) })
}

/// [`device_flush`] of what a descriptor names, which need not be open for writing.
pub fn device_flush_fd(fd: impl AsFd) -> Result<Flushed> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the report, which states its size, lives through the call.
    flush_with(|report| unsafe { sys::fsys_device_flush_fd(fd, 0, report) })
}

impl File {
    /// As [`probe`](crate::probe()), of this file.
    pub fn probe(&self) -> Result<Probe> {
        // SAFETY: the report, which states its size, lives through the call.
        probe_with(|report| unsafe { sys::fsys_probe_file(self.raw(), 0, report) })
    }

    /// As [`device_flush`](crate::device_flush()), of this file: the commit is a
    /// [`sync`](File::sync), so a failure of it poisons the file.
    pub fn device_flush(&self) -> Result<Flushed> {
        // SAFETY: the report, which states its size, lives through the call.
        flush_with(|report| unsafe { sys::fsys_device_flush_file(self.raw(), 0, report) })
    }
}
