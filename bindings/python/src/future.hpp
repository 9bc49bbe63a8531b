// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Future: the result of an op under asyncio. It quacks like asyncio.Future (asyncio.isfuture() is true
// of it), but what was completed together calls its callbacks together, see Channel::run_callbacks():
// a turn of the loop and a Handle for each is half of what an awaited read would cost.

#pragma once

#include "common.hpp"

namespace binding {

class Channel;

/// All under the GIL, in the loop's thread. Made by new_future() only.
struct Future {
    enum State : uint8_t { kPending, kValue, kError, kCancelled };

    PyObject ob_base;
    PyObject *weak_references;
    PyObject *channel_object;  // keeps `channel`
    Channel *channel;
    PyObject *outcome;   // the value, the exception, or what cancel() was given
    PyObject *callback;  // the first one, which is mostly the only one ...
    PyObject *context;
    PyObject *more;  // ... and a list of (callback, context)
    PyObject *traceback;         // where it was made, in debug mode
    State state;
    bool blocking;   // asyncio's sign that `await` has yielded it
    bool unheard;    // an exception that nobody has asked for
    bool at_once;    // was done before it was awaited: `await` counts it, for the others' sake

    PyObject *object() { return reinterpret_cast<PyObject *>(this); }
    bool has_callbacks() const { return callback != nullptr; }
    /// Ends it, unless it has ended. Callbacks come with the channel's next run.
    void settle(State with, PyObject *value);
    /// Takes the callbacks and calls them. False: KeyboardInterrupt or SystemExit is set.
    bool run_callbacks();
};

/// NULL when it is somebody else's kind of future.
Future *own_future(const py::object &object);
/// A pending one.
Future *new_future(PyObject *channel_object, Channel *channel);

void bind_future(py::module_ &module);

}  // namespace binding
