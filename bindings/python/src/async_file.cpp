// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fsys._fsys.AsyncFile: the base of the asynchronous File, with the methods that programs call most.
// Straight on CPython: a Python frame and pybind11's dispatch take as long as reading a cached block.
// Entered with the GIL; the file and the channel are kept by the object.

#include <cstddef>

#include "channel.hpp"

namespace binding {
namespace {

struct AsyncFile {
    PyObject ob_base;
    PyObject *channel_object;
    PyObject *file_object;
    Channel *channel;
    const File *file;
};

AsyncFile *self_of(PyObject *object) { return reinterpret_cast<AsyncFile *>(object); }

struct Signature {
    const char *function;
    const char *names[3];
    Py_ssize_t most;
    Py_ssize_t positional;  // all of these are required, the rest are optional
};

// Borrowed references in the order of the names, NULL for what was not given.
bool arguments(const Signature &signature, PyObject *const *args, Py_ssize_t count, PyObject *names,
               PyObject **out) {
    if (count > signature.positional) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd positional arguments but %zd were given",
                     signature.function, signature.positional, count);
        return false;
    }
    for (Py_ssize_t i = 0; i < signature.most; ++i) {
        out[i] = i < count ? args[i] : nullptr;
    }
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < named; ++i) {
        PyObject *const name = PyTuple_GET_ITEM(names, i);
        Py_ssize_t place = 0;
        while (place < signature.most &&
               PyUnicode_CompareWithASCIIString(name, signature.names[place]) != 0) {
            ++place;
        }
        if (place == signature.most || out[place] != nullptr) {
            PyErr_Format(PyExc_TypeError, "%s() got an argument '%U' that it does not %s",
                         signature.function, name,
                         place == signature.most ? "know" : "take twice");
            return false;
        }
        out[place] = args[count + i];
    }
    for (Py_ssize_t i = 0; i < signature.positional; ++i) {
        if (out[i] == nullptr) {
            PyErr_Format(PyExc_TypeError, "%s() needs the argument '%s'", signature.function,
                         signature.names[i]);
            return false;
        }
    }
    return true;
}

// Anything with __index__().
int64_t integer(PyObject *object) {
    const py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(object));
    const int64_t value = index ? PyLong_AsLongLong(index.ptr()) : -1;
    if (value == -1 && PyErr_Occurred()) {
        throw py::error_already_set();
    }
    return value;
}

size_t size(PyObject *object) {
    const int64_t value = integer(object);
    if (value < 0) {
        throw py::value_error("a length is not negative");
    }
    return static_cast<size_t>(value);
}

template <class Body>
PyObject *guarded(PyObject *object, Body &&body) {
    const AsyncFile *const self = self_of(object);
    if (self->channel == nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "AsyncFile.__init__() was not called");
        return nullptr;
    }
    try {
        const py::object future =
            body(*self->channel, *self->file, py::reinterpret_borrow<py::object>(object));
        return future.inc_ref().ptr();
    } catch (py::error_already_set &error) {
        error.restore();
    } catch (const py::builtin_exception &error) {
        error.set_error();
    } catch (const std::bad_alloc &) {
        PyErr_NoMemory();
    } catch (const std::exception &error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

PyObject *read(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static constexpr Signature signature{"read", {"length", "offset"}, 2, 2};
    PyObject *given[2];
    if (!arguments(signature, args, count, names, given)) {
        return nullptr;
    }
    return guarded(self, [&](Channel &channel, const File &file, const py::object &owner) {
        return channel.read(owner, file, size(given[0]), integer(given[1]));
    });
}

PyObject *read_into(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static constexpr Signature signature{"read_into", {"buffer", "offset"}, 2, 2};
    PyObject *given[2];
    if (!arguments(signature, args, count, names, given)) {
        return nullptr;
    }
    return guarded(self, [&](Channel &channel, const File &file, const py::object &owner) {
        return channel.read_into(owner, file, py::reinterpret_borrow<py::object>(given[0]),
                                 integer(given[1]));
    });
}

PyObject *write(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static constexpr Signature signature{"write", {"data", "offset", "durable"}, 3, 2};
    PyObject *given[3];
    if (!arguments(signature, args, count, names, given)) {
        return nullptr;
    }
    return guarded(self, [&](Channel &channel, const File &file, const py::object &owner) {
        const int durable = given[2] == nullptr ? 0 : PyObject_IsTrue(given[2]);
        if (durable < 0) {
            throw py::error_already_set();
        }
        return channel.write(owner, file, py::reinterpret_borrow<py::object>(given[0]),
                             integer(given[1]), durable != 0);
    });
}

// --------------------------------------------------------------------- life

int traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self_of(object)->channel_object);
    Py_VISIT(self_of(object)->file_object);
    return 0;
}

int clear(PyObject *object) {
    AsyncFile *const self = self_of(object);
    self->channel = nullptr;
    self->file = nullptr;
    Py_CLEAR(self->channel_object);
    Py_CLEAR(self->file_object);
    return 0;
}

int init(PyObject *object, PyObject *args, PyObject *keywords) {
    static const char *names[] = {"channel", "file", nullptr};
    PyObject *channel = nullptr;
    PyObject *file = nullptr;
    if (PyArg_ParseTupleAndKeywords(args, keywords, "OO:AsyncFile", const_cast<char **>(names),
                                    &channel, &file) == 0) {
        return -1;
    }
    try {
        auto *const its_channel = py::cast<Channel *>(py::handle(channel));
        const auto *const its_file = py::cast<const File *>(py::handle(file));
        clear(object);
        Py_INCREF(channel);
        Py_INCREF(file);
        AsyncFile *const self = self_of(object);
        self->channel_object = channel;
        self->file_object = file;
        self->channel = its_channel;
        self->file = its_file;
        return 0;
    } catch (const std::exception &) {
        PyErr_SetString(PyExc_TypeError, "AsyncFile() takes a Channel and a File");
        return -1;
    }
}

void dealloc(PyObject *object) {
    PyTypeObject *const type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

template <class Function>
void *slot(Function function) {
    return reinterpret_cast<void *>(function);
}

template <class Function>
PyCFunction method(Function function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef g_methods[] = {
    {"read", method(&read), METH_FASTCALL | METH_KEYWORDS,
     "read($self, /, length, offset)\n--\n\nReads up to `length` bytes at `offset`; fewer only at "
     "the end of the file.\n\nWhat the page cache has (of up to 64 KiB) is read at once: the future "
     "is then done when this returns."},
    {"read_into", method(&read_into), METH_FASTCALL | METH_KEYWORDS,
     "read_into($self, /, buffer, offset)\n--\n\nFills a writable contiguous buffer from `offset`; "
     "gives how many bytes were read. At once as of read()."},
    {"write", method(&write), METH_FASTCALL | METH_KEYWORDS,
     "write($self, /, data, offset, *, durable=False)\n--\n\nWrites all of `data`, which must not "
     "change meanwhile; gives its length."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot g_slots[] = {
    {Py_tp_doc, const_cast<char *>("What fsys.aio.File and fsys.trio.File are made of.")},
    {Py_tp_new, slot(&PyType_GenericNew)},
    {Py_tp_init, slot(&init)},
    {Py_tp_dealloc, slot(&dealloc)},
    {Py_tp_traverse, slot(&traverse)},
    {Py_tp_clear, slot(&clear)},
    {Py_tp_methods, g_methods},
    {0, nullptr},
};

PyType_Spec g_spec = {"fsys._fsys.AsyncFile", sizeof(AsyncFile), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, g_slots};

}  // namespace

void bind_async_file(py::module_ &module) {
    PyObject *const type = PyType_FromModuleAndSpec(module.ptr(), &g_spec, nullptr);
    if (type == nullptr) {
        throw py::error_already_set();
    }
    module.attr("AsyncFile") = py::reinterpret_steal<py::object>(type);
}

}  // namespace binding
