// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fsys._fsys.Future, straight on CPython: pybind11's dispatch would cost as much as asyncio's Future.
// Entered with the GIL. A callback is foreign code: what it is called with was taken out before.

#include "future.hpp"

#include <structmember.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "channel.hpp"

namespace binding {
namespace {

// They live as long as the module, which is never unloaded.
PyTypeObject *g_type;
PyObject *g_cancelled_error;  // of asyncio, which is imported with the first future
PyObject *g_invalid_state;

Future *self_of(PyObject *object) { return reinterpret_cast<Future *>(object); }

PyObject *raised(PyObject *type, const char *text) {
    PyErr_SetString(type, text);
    return nullptr;
}

PyObject *make_cancelled(Future *self) {
    return self->outcome == nullptr || self->outcome == Py_None
        ? PyObject_CallNoArgs(g_cancelled_error)
        : PyObject_CallOneArg(g_cancelled_error, self->outcome);
}

void raise_cancelled(Future *self) {
    PyObject *const error = make_cancelled(self);
    if (error != nullptr) {
        PyErr_SetObject(g_cancelled_error, error);
        Py_DECREF(error);
    }
}

// A new reference to the value; NULL with the exception set.
PyObject *take(Future *self) {
    switch (self->state) {
    case Future::kValue: Py_INCREF(self->outcome); return self->outcome;
    case Future::kCancelled: raise_cancelled(self); return nullptr;
    case Future::kError:
        self->unheard = false;
        // Or raising it again would make the traceback longer each time.
        (void)PyException_SetTraceback(self->outcome, Py_None);
        PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(self->outcome)), self->outcome);
        return nullptr;
    case Future::kPending: break;
    }
    return raised(g_invalid_state, "Result is not set.");
}

PyObject *result(PyObject *self, PyObject *) { return take(self_of(self)); }

PyObject *exception(PyObject *object, PyObject *) {
    Future *const self = self_of(object);
    switch (self->state) {
    case Future::kPending: return raised(g_invalid_state, "Exception is not set.");
    case Future::kCancelled: raise_cancelled(self); return nullptr;
    case Future::kValue: Py_RETURN_NONE;
    case Future::kError: break;
    }
    self->unheard = false;
    Py_INCREF(self->outcome);
    return self->outcome;
}

PyObject *done(PyObject *self, PyObject *) {
    return PyBool_FromLong(self_of(self)->state != Future::kPending);
}

PyObject *cancelled(PyObject *self, PyObject *) {
    return PyBool_FromLong(self_of(self)->state == Future::kCancelled);
}

PyObject *get_loop(PyObject *self, PyObject *) {
    return self_of(self)->channel->loop().inc_ref().ptr();
}

PyObject *make_cancelled_error(PyObject *self, PyObject *) { return make_cancelled(self_of(self)); }

// What pybind11 does for its own functions.
template <class Body>
PyObject *guarded(Body &&body) {
    try {
        return body();
    } catch (py::error_already_set &error) {
        error.restore();
    } catch (const std::exception &error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

PyObject *cancel(PyObject *object, PyObject *args, PyObject *keywords) {
    static const char *names[] = {"msg", nullptr};
    PyObject *message = Py_None;
    if (PyArg_ParseTupleAndKeywords(args, keywords, "|O:cancel", const_cast<char **>(names),
                                    &message) == 0) {
        return nullptr;
    }
    Future *const self = self_of(object);
    if (self->state != Future::kPending) {
        Py_RETURN_FALSE;
    }
    return guarded([&] {
        self->settle(Future::kCancelled, message);
        self->channel->cancel(py::reinterpret_borrow<py::object>(object));
        Py_RETURN_TRUE;
    });
}

PyObject *add_done_callback(PyObject *object, PyObject *const *args, Py_ssize_t count,
                            PyObject *names) {
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    if (count != 1 || named > 1 ||
        (named == 1 &&
         PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "context") != 0)) {
        return raised(PyExc_TypeError, "add_done_callback() takes a callable, and a context by name");
    }
    Future *const self = self_of(object);
    PyObject *context = named == 1 && args[1] != Py_None ? args[1] : nullptr;
    if (context == nullptr) {
        context = PyContext_CopyCurrent();
        if (context == nullptr) {
            return nullptr;
        }
    } else {
        Py_INCREF(context);
    }
    if (!self->has_callbacks()) {
        Py_INCREF(args[0]);
        self->callback = args[0];
        self->context = context;
    } else {
        PyObject *const pair = PyTuple_Pack(2, args[0], context);
        Py_DECREF(context);
        if (pair == nullptr || (self->more == nullptr && (self->more = PyList_New(0)) == nullptr) ||
            PyList_Append(self->more, pair) != 0) {
            Py_XDECREF(pair);
            return nullptr;
        }
        Py_DECREF(pair);
        if (self->state != Future::kPending) {
            Py_RETURN_NONE;  // the first one has brought it to the channel
        }
    }
    if (self->state == Future::kPending) {
        Py_RETURN_NONE;
    }
    return guarded([&] {
        self->channel->call_back(self);
        Py_RETURN_NONE;
    });
}

// All callbacks as a list of pairs, taken out of the future; NULL on failure.
PyObject *take_callbacks(Future *self) {
    PyObject *list = std::exchange(self->more, nullptr);
    if (list == nullptr && (list = PyList_New(0)) == nullptr) {
        return nullptr;
    }
    if (self->has_callbacks()) {
        PyObject *const first = PyTuple_Pack(2, self->callback, self->context);
        if (first == nullptr || PyList_Insert(list, 0, first) != 0) {
            Py_XDECREF(first);
            Py_DECREF(list);
            return nullptr;
        }
        Py_DECREF(first);
        Py_CLEAR(self->callback);
        Py_CLEAR(self->context);
    }
    return list;
}

PyObject *remove_done_callback(PyObject *object, PyObject *callback) {
    Future *const self = self_of(object);
    PyObject *const list = take_callbacks(self);
    if (list == nullptr) {
        return nullptr;
    }
    long removed = 0;
    bool failed = false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list);) {
        PyObject *const known = PyTuple_GET_ITEM(PyList_GET_ITEM(list, i), 0);
        const int same = failed ? 0 : PyObject_RichCompareBool(known, callback, Py_EQ);
        failed |= same < 0;
        if (same > 0 && PyList_SetSlice(list, i, i + 1, nullptr) == 0) {
            ++removed;
        } else {
            ++i;
        }
    }
    // Comparing is foreign code: what it has added goes behind those that stay.
    PyObject *const late = take_callbacks(self);
    if (late != nullptr) {
        (void)PyList_SetSlice(list, PyList_GET_SIZE(list), PyList_GET_SIZE(list), late);
        Py_DECREF(late);
    }
    if (PyList_GET_SIZE(list) != 0) {
        PyObject *const first = PyList_GET_ITEM(list, 0);
        self->callback = PyTuple_GET_ITEM(first, 0);
        self->context = PyTuple_GET_ITEM(first, 1);
        Py_INCREF(self->callback);
        Py_INCREF(self->context);
        (void)PyList_SetSlice(list, 0, 1, nullptr);
        self->more = list;
    } else {
        Py_DECREF(list);
    }
    return failed || PyErr_Occurred() ? nullptr : PyLong_FromLong(removed);
}

// -------------------------------------------------------------------- await

// NULL without an exception: done, and the value is `outcome`.
PyObject *step(Future *self) {
    if (self->state == Future::kPending) {
        if (self->blocking) {
            return raised(PyExc_RuntimeError, "await wasn't used with future");
        }
        self->blocking = true;
        Py_INCREF(self->object());
        return self->object();
    }
    if (std::exchange(self->at_once, false) && self->channel->is_others_turn()) {
        Py_RETURN_NONE;  // asyncio's sign for "in the loop's next turn"
    }
    return nullptr;
}

PyObject *next(PyObject *object) {
    Future *const self = self_of(object);
    PyObject *const yielded = step(self);
    if (yielded != nullptr || PyErr_Occurred()) {
        return yielded;
    }
    PyObject *const value = take(self);
    if (value != nullptr) {
        // An instance, for of a bare tuple the exception would make its arguments.
        PyObject *const stop = PyObject_CallOneArg(PyExc_StopIteration, value);
        Py_DECREF(value);
        if (stop != nullptr) {
            PyErr_SetObject(PyExc_StopIteration, stop);
            Py_DECREF(stop);
        }
    }
    return nullptr;
}

#if PY_VERSION_HEX >= 0x030A0000
PySendResult send(PyObject *object, PyObject *, PyObject **ret_value) {
    Future *const self = self_of(object);
    *ret_value = step(self);
    if (*ret_value != nullptr) {
        return PYGEN_NEXT;
    }
    if (PyErr_Occurred()) {
        return PYGEN_ERROR;
    }
    *ret_value = take(self);
    return *ret_value != nullptr ? PYGEN_RETURN : PYGEN_ERROR;
}
#endif

PyObject *itself(PyObject *self) {
    Py_INCREF(self);
    return self;
}

// --------------------------------------------------------------- attributes

PyObject *get_blocking(PyObject *self, void *) { return PyBool_FromLong(self_of(self)->blocking); }

int set_blocking(PyObject *self, PyObject *value, void *) {
    const int truth = value == nullptr ? 0 : PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    self_of(self)->blocking = truth != 0;
    return 0;
}

// gather() asks for it.
PyObject *get_cancel_message(PyObject *object, void *) {
    Future *const self = self_of(object);
    PyObject *const value =
        self->state == Future::kCancelled && self->outcome != nullptr ? self->outcome : Py_None;
    Py_INCREF(value);
    return value;
}

PyObject *get_traceback(PyObject *object, void *) {
    PyObject *const value =
        self_of(object)->traceback != nullptr ? self_of(object)->traceback : Py_None;
    Py_INCREF(value);
    return value;
}

PyObject *repr(PyObject *object) {
    Future *const self = self_of(object);
    switch (self->state) {
    case Future::kPending: return PyUnicode_FromString("<fsys.Future pending>");
    case Future::kCancelled: return PyUnicode_FromString("<fsys.Future cancelled>");
    case Future::kError: return PyUnicode_FromFormat("<fsys.Future exception=%R>", self->outcome);
    case Future::kValue: break;
    }
    return PyUnicode_FromString("<fsys.Future finished>");
}

// --------------------------------------------------------------------- life

int traverse(PyObject *object, visitproc visit, void *arg) {
    Future *const self = self_of(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->channel_object);
    Py_VISIT(self->outcome);
    Py_VISIT(self->callback);
    Py_VISIT(self->context);
    Py_VISIT(self->more);
    Py_VISIT(self->traceback);
    return 0;
}

int clear(PyObject *object) {
    Future *const self = self_of(object);
    Py_CLEAR(self->outcome);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    Py_CLEAR(self->more);
    Py_CLEAR(self->traceback);
    return 0;
}

// Tells the loop's exception handler.
void tell(Future *self, const std::string &message, PyObject *error) {
    py::dict facts;
    facts["message"] = message;
    facts["exception"] = py::reinterpret_borrow<py::object>(error);
    facts["future"] = py::reinterpret_borrow<py::object>(self->object());
    if (self->traceback != nullptr) {
        facts["source_traceback"] = py::reinterpret_borrow<py::object>(self->traceback);
    }
    self->channel->loop().attr("call_exception_handler")(facts);
}

void finalize(PyObject *object) {
    Future *const self = self_of(object);
    if (!self->unheard || self->outcome == nullptr) {
        return;
    }
    self->unheard = false;
    PyObject *type = nullptr;
    PyObject *value = nullptr;
    PyObject *trace = nullptr;
    PyErr_Fetch(&type, &value, &trace);
    try {
        tell(self, "fsys.Future exception was never retrieved", self->outcome);
    } catch (py::error_already_set &error) {
        error.restore();
        PyErr_WriteUnraisable(object);
    }
    PyErr_Restore(type, value, trace);
}

void dealloc(PyObject *object) {
    if (PyObject_CallFinalizerFromDealloc(object) != 0) {
        return;
    }
    Future *const self = self_of(object);
    PyObject_GC_UnTrack(object);
    if (self->weak_references != nullptr) {
        PyObject_ClearWeakRefs(object);
    }
    clear(object);
    Py_CLEAR(self->channel_object);
    PyTypeObject *const type = Py_TYPE(object);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

// A flag of a PyCFunction of these kinds says how its pointer is really called.
template <class Function>
PyCFunction method(Function function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef g_methods[] = {
    {"result", &result, METH_NOARGS,
     "result($self, /)\n--\n\nThe value; raises what the op failed with, CancelledError, or "
     "InvalidStateError while it is not done."},
    {"exception", &exception, METH_NOARGS,
     "exception($self, /)\n--\n\nWhat the op failed with, or None; raises as result() otherwise."},
    {"done", &done, METH_NOARGS,
     "done($self, /)\n--\n\nWhether it has a value or an exception, or was cancelled."},
    {"cancelled", &cancelled, METH_NOARGS, "cancelled($self, /)\n--\n\nWhether it was cancelled."},
    {"cancel", method(&cancel), METH_VARARGS | METH_KEYWORDS,
     "cancel($self, /, msg=None)\n--\n\nCancels it and, as far as that can be done, its op. Whether "
     "it was not done yet."},
    {"get_loop", &get_loop, METH_NOARGS, "get_loop($self, /)\n--\n\nThe event loop of its handle."},
    {"add_done_callback", method(&add_done_callback), METH_FASTCALL | METH_KEYWORDS,
     "add_done_callback($self, fn, /, *, context=None)\n--\n\nThe loop calls `fn` with this future "
     "once it is done, in `context` or a copy of the current one."},
    {"remove_done_callback", &remove_done_callback, METH_O,
     "remove_done_callback($self, fn, /)\n--\n\nTakes `fn` back, unless it was called. How many "
     "times it was there."},
    {"_make_cancelled_error", &make_cancelled_error, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef g_attributes[] = {
    {"_asyncio_future_blocking", &get_blocking, &set_blocking, nullptr, nullptr},
    {"_cancel_message", &get_cancel_message, nullptr, nullptr, nullptr},
    {"_source_traceback", &get_traceback, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMemberDef g_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Future, weak_references), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

template <class Function>
void *slot(Function function) {
    return reinterpret_cast<void *>(function);
}

PyType_Slot g_slots[] = {
    {Py_tp_doc,
     const_cast<char *>("The result of an op of fsys.aio: what asyncio.isfuture() is true of. "
                        "Awaitable, also several times; callbacks of ops that completed together are "
                        "called in one turn of the loop.")},
    {Py_tp_dealloc, slot(&dealloc)},
    {Py_tp_finalize, slot(&finalize)},
    {Py_tp_traverse, slot(&traverse)},
    {Py_tp_clear, slot(&clear)},
    {Py_tp_repr, slot(&repr)},
    {Py_tp_iter, slot(&itself)},
    {Py_tp_iternext, slot(&next)},
    {Py_am_await, slot(&itself)},
#if PY_VERSION_HEX >= 0x030A0000
    {Py_am_send, slot(&send)},
#endif
    {Py_tp_methods, g_methods},
    {Py_tp_getset, g_attributes},
    {Py_tp_members, g_members},
    {0, nullptr},
};

PyType_Spec g_spec = {"fsys._fsys.Future", sizeof(Future), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, g_slots};

// Calls one callback. False: KeyboardInterrupt or SystemExit is set.
bool call(Future *self, PyObject *callback, PyObject *context) {
    PyObject *answer = nullptr;
    if (PyContext_Enter(context) == 0) {
        answer = PyObject_CallOneArg(callback, self->object());
        if (answer == nullptr) {
            // Leaving the context must not see the exception.
            PyObject *type = nullptr;
            PyObject *value = nullptr;
            PyObject *trace = nullptr;
            PyErr_Fetch(&type, &value, &trace);
            (void)PyContext_Exit(context);
            PyErr_Restore(type, value, trace);
        } else if (PyContext_Exit(context) != 0) {
            Py_CLEAR(answer);
        }
    }
    if (answer != nullptr) {
        Py_DECREF(answer);
        return true;
    }
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ||
        PyErr_ExceptionMatches(PyExc_SystemExit)) {
        return false;
    }
    try {
        const py::error_already_set error;
        if (error.trace()) {
            (void)PyException_SetTraceback(error.value().ptr(), error.trace().ptr());
        }
        tell(self, "Exception in callback " + py::repr(callback).cast<std::string>(),
             error.value().ptr());
    } catch (py::error_already_set &error) {
        error.restore();
        if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ||
            PyErr_ExceptionMatches(PyExc_SystemExit)) {
            return false;
        }
        PyErr_WriteUnraisable(callback);
    }
    return true;
}

}  // namespace

void Future::settle(State with, PyObject *value) {
    if (state != kPending) {
        return;
    }
    state = with;
    unheard = with == kError;
    Py_INCREF(value);
    outcome = value;
    blocking = false;
    if (has_callbacks()) {
        channel->call_back(this);
    }
}

bool Future::run_callbacks() {
    PyObject *const first = std::exchange(callback, nullptr);
    PyObject *const first_context = std::exchange(context, nullptr);
    PyObject *const rest = std::exchange(more, nullptr);
    if (first == nullptr) {
        return true;  // removed meanwhile
    }
    bool going_on = call(this, first, first_context);
    Py_DECREF(first);
    Py_DECREF(first_context);
    if (rest == nullptr) {
        return going_on;
    }
    for (Py_ssize_t i = 0; going_on && i < PyList_GET_SIZE(rest); ++i) {
        PyObject *const pair = PyList_GET_ITEM(rest, i);
        going_on = call(this, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    }
    Py_DECREF(rest);
    return going_on;
}

Future *own_future(const py::object &object) {
    return object && Py_TYPE(object.ptr()) == g_type ? self_of(object.ptr()) : nullptr;
}

Future *new_future(PyObject *channel_object, Channel *channel) {
    if (g_invalid_state == nullptr) {
        const py::module_ asyncio = py::module_::import("asyncio");
        g_cancelled_error = py::object(asyncio.attr("CancelledError")).release().ptr();
        g_invalid_state = py::object(asyncio.attr("InvalidStateError")).release().ptr();
    }
    auto *self = PyObject_GC_New(Future, g_type);
    if (self == nullptr) {
        throw py::error_already_set();
    }
    PyObject *const head = &self->ob_base;
    std::memset(reinterpret_cast<char *>(self) + sizeof *head, 0, sizeof *self - sizeof *head);
    Py_INCREF(channel_object);
    self->channel_object = channel_object;
    self->channel = channel;
    PyObject_GC_Track(head);
    return self;
}

void bind_future(py::module_ &module) {
    PyObject *const type = PyType_FromModuleAndSpec(module.ptr(), &g_spec, nullptr);
    if (type == nullptr) {
        throw py::error_already_set();
    }
    g_type = reinterpret_cast<PyTypeObject *>(type);
    g_type->tp_new = nullptr;
    module.attr("Future") = py::reinterpret_steal<py::object>(type);
}

}  // namespace binding
