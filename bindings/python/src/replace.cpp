// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Files replaced whole: at once, copied, piece by piece (fsys.Replacement) and many together.
// Entered with the GIL, which is given up around each call: they block for as long as the disk
// takes.

#include "records.hpp"
#include "whole.hpp"

namespace binding {
namespace {

uint32_t keep_of(const py::object &names) {
    if (names.is_none()) {
        return FSYS_KEEP_DEFAULT;
    }
    uint32_t keep = 0;
    for (const py::handle item : names) {
        keep |= 1u << choice(item.cast<std::string>(), {"mode", "owner", "xattrs", "acl", "times"},
                             "each of keep");
    }
    return keep == 0 ? FSYS_KEEP_NOTHING : keep;
}
static_assert(FSYS_KEEP_MODE == 1u << 0 && FSYS_KEEP_OWNER == 1u << 1 &&
              FSYS_KEEP_XATTRS == 1u << 2 && FSYS_KEEP_ACL == 1u << 3 &&
              FSYS_KEEP_TIMES == 1u << 4);

struct ReplaceOptions {
    ReplaceOptions(const std::string &durability, const py::object &keep, uint32_t permissions,
                   const std::string &lifetime, const FilePtr &directory, uint32_t flags)
        : dir(directory) {
        options.struct_size = sizeof options;
        options.flags = flags;
        options.durability = durability_of(durability);
        options.keep = keep_of(keep);
        options.mode = permissions;
        options.lifetime = lifetime_of(lifetime);
        options.dir = dir ? dir->get() : nullptr;
        options.error_text = text;
        options.error_text_size = sizeof text;
        report.struct_size = sizeof report;
    }
    ReplaceOptions(const ReplaceOptions &) = delete;

    fsys_replace_options options{};
    fsys_file_report report{};
    char text[512] = "";
    FilePtr dir;
};

uint32_t flags_of(bool exclusive, bool existing, bool nofollow, bool keep_try, bool one_link,
                  bool sync_directory) {
    return (exclusive ? FSYS_REPLACE_NEW : 0) | (existing ? FSYS_REPLACE_EXISTING : 0) |
           (nofollow ? FSYS_REPLACE_NOFOLLOW : 0) | (keep_try ? FSYS_REPLACE_KEEP_TRY : 0) |
           (one_link ? FSYS_REPLACE_ONE_LINK : 0) |
           (sync_directory ? 0 : FSYS_REPLACE_NO_DIRECTORY_SYNC);
}

// The report says how far it came, also when it failed.
py::object finish(int code, const ReplaceOptions &call, const py::object &path) {
    const py::object report = file_report(call.report);
    if (code < 0) {
        const py::object error = make_error(code, path, call.text);
        error.attr("report") = report;
        raise(error);
    }
    return report;
}

py::object replace(const Handle &handle, const py::object &path, const py::object &data,
                   const std::string &durability, const py::object &keep, uint32_t permissions,
                   bool exclusive, bool existing, bool nofollow, bool keep_try, bool one_link,
                   bool sync_directory, const std::string &lifetime, const FilePtr &dir) {
    const Name name = Name::path_only(path);
    const View view(data, View::kRead);
    ReplaceOptions call(
        durability, keep, permissions, lifetime, dir,
        flags_of(exclusive, existing, nofollow, keep_try, one_link, sync_directory));
    fsys *const h = handle.engine->handle();
    const int code = without_gil([&] {
        return fsys_replace(h, name.c_str(), view.data(), view.size(), &call.options, &call.report);
    });
    return finish(code, call, name.given);
}

py::object copy(const Handle &handle, const py::object &from, const py::object &to,
                const std::string &durability, const py::object &keep, uint32_t permissions,
                bool reflink, const std::string &lifetime, const FilePtr &dir) {
    const Name source = Name::path_only(from);
    const Name target = Name::path_only(to);
    ReplaceOptions call(durability, keep, permissions, lifetime, dir,
                        reflink ? FSYS_REPLACE_REFLINK : 0);
    fsys *const h = handle.engine->handle();
    const int code = without_gil(
        [&] { return fsys_copy(h, source.c_str(), target.c_str(), &call.options, &call.report); });
    return finish(code, call, target.given);
}

// ------------------------------------------------------------- replacement

class Replacement {
public:
    Replacement(EnginePtr engine, py::object path, std::unique_ptr<ReplaceOptions> call)
        : engine_(std::move(engine)), path_(std::move(path)), call_(std::move(call)) {
        const Name name = Name::path_only(path_);
        checked(without_gil([&] {
                    return fsys_replace_begin(engine_->handle(), name.c_str(), &call_->options,
                                              &replacement_);
                }),
                path_, call_->text);
    }
    ~Replacement() {
        if (!closed()) {
            without_gil([&] { return fsys_replace_abort(replacement_); });
        }
    }
    Replacement(const Replacement &) = delete;

    void write(const py::object &data) {
        const View view(data, View::kRead);
        check_open();
        const int code =
            without_gil([&] { return fsys_replace_write(replacement_, view.data(), view.size()); });
        checked(code, path_, code == -EBUSY ? nullptr : call_->text);
    }

    py::object commit() {
        check_open();
        const int code =
            without_gil([&] { return fsys_replace_commit(replacement_, &call_->report); });
        if (code == -EBUSY) {
            fail(code, path_);  // another thread writes; nothing has happened
        }
        ended_ = true;
        return finish(code, *call_, path_);
    }

    void abort() {
        if (closed()) {
            return;
        }
        const int code = without_gil([&] { return fsys_replace_abort(replacement_); });
        ended_ = code != -EBUSY;
        if (code != FSYS_E_CLOSED) {
            checked(code, path_);
        }
    }

    const py::object &path() const { return path_; }
    bool closed() const { return ended_ || engine_->closed(); }

private:
    void check_open() const {
        if (closed()) {
            fail(FSYS_E_CLOSED, path_);
        }
    }

    EnginePtr engine_;
    py::object path_;
    std::unique_ptr<ReplaceOptions> call_;  // its text is written until the end
    fsys_replacement *replacement_ = nullptr;
    bool ended_ = false;
};

std::unique_ptr<Replacement> begin(const Handle &handle, const py::object &path,
                                   const std::string &durability, const py::object &keep,
                                   uint32_t permissions, bool exclusive, bool existing,
                                   bool nofollow, bool keep_try, bool one_link, bool sync_directory,
                                   const std::string &lifetime, const FilePtr &dir) {
    return std::make_unique<Replacement>(
        handle.engine, path,
        std::make_unique<ReplaceOptions>(
            durability, keep, permissions, lifetime, dir,
            flags_of(exclusive, existing, nofollow, keep_try, one_link, sync_directory)));
}

// -------------------------------------------------------------------- many

py::list replace_many(const Handle &handle, const py::object &items, const std::string &durability,
                      const py::object &keep, uint32_t permissions, bool exclusive, bool existing,
                      bool nofollow, bool keep_try, bool one_link, const std::string &lifetime,
                      const FilePtr &dir, bool stop) {
    const py::list pairs(items);
    std::vector<Name> names;
    std::vector<View> views;
    std::vector<fsys_batch_item> batch(pairs.size());
    names.reserve(pairs.size());
    views.reserve(pairs.size());
    for (size_t i = 0; i < pairs.size(); ++i) {
        const auto pair = pairs[i].cast<std::pair<py::object, py::object>>();
        batch[i].path = names.emplace_back(Name::path_only(pair.first)).c_str();
        if (pair.second.is_none()) {
            batch[i].verb = FSYS_BATCH_UNLINK;
        } else {
            const View &view = views.emplace_back(pair.second, View::kRead);
            batch[i].data = view.data();
            batch[i].length = view.size();
        }
    }
    if (batch.size() > UINT32_MAX) {
        fail(-EINVAL, py::none());
    }
    ReplaceOptions call(durability, keep, permissions, lifetime, dir,
                        flags_of(exclusive, existing, nofollow, keep_try, one_link, true) |
                            (stop ? FSYS_REPLACE_STOP : 0));
    const int code = without_gil([&] {
        return fsys_batch(handle.engine->handle(), batch.data(),
                          static_cast<uint32_t>(batch.size()), &call.options);
    });
    py::list results;
    py::object first = py::none();
    for (size_t i = 0; i < batch.size(); ++i) {
        results.append(batch_result(batch[i], names[i].given));
        if (first.is_none() && batch[i].result < 0) {
            first = names[i].given;
        }
    }
    if (code < 0) {
        const py::object error = make_error(code, first, call.text);
        error.attr("results") = results;
        raise(error);
    }
    return results;
}

}  // namespace

void bind_replace(py::module_ &module) {
    py::class_<Replacement>(
        module, "Replacement",
        "A file being replaced piece by piece, see Handle.begin_replace(). One thread at a time "
        "(EBUSY). As a context manager it is committed at the end, or aborted after an exception. "
        "Dropping it aborts it.")
        .def("write", &Replacement::write, py::arg("data"),
             "Adds `data` at the end. Raises OSError (ENOSPC, EIO ...): only abort() is left then "
             "(PoisonedError).")
        .def("commit", &Replacement::commit,
             "Puts the new file in the old one's place, as Handle.replace() does, and ends the "
             "replacement, also on failure. Returns a FileReport; errors as of Handle.replace().")
        .def("abort", &Replacement::abort,
             "Gives it up: the old file is as it was. Nothing happens when it has ended.")
        .def_property_readonly("path", &Replacement::path, "What it was begun with.")
        .def_property_readonly("closed", &Replacement::closed,
                               "Whether it was committed or aborted, or its handle closed.")
        .def("__enter__", [](const py::object &self) { return self; })
        .def("__exit__", [](Replacement &self, const py::object &kind, const py::args &) {
            if (!kind.is_none()) {
                self.abort();
            } else if (!self.closed()) {
                self.commit();
            }
        });

    auto handle = py::reinterpret_borrow<py::class_<Handle>>(module.attr("Handle"));
    handle
        .def(
            "replace", &replace, py::arg("path"), py::arg("data"), py::kw_only(),
            py::arg("durability") = "full", py::arg("keep") = py::none(),
            py::arg("permissions") = 0666, py::arg("exclusive") = false,
            py::arg("existing") = false, py::arg("nofollow") = false, py::arg("keep_try") = false,
            py::arg("one_link") = false, py::arg("sync_directory") = true,
            py::arg("lifetime") = "unset", py::arg("dir") = py::none(),
            "Replaces a file, or creates it: whoever opens the name gets all old or all new bytes, "
            "also after power loss, and once this returned the new ones. Returns a FileReport.\n\n"
            "durability: 'none', 'data', 'full' or 'device'. keep: what the new file takes over, "
            "of 'mode', 'owner', 'xattrs', 'acl', 'times' (None: mode, owner and acl). "
            "permissions: "
            "of a file that is new. exclusive: FileExistsError when the name is taken. existing: "
            "FileNotFoundError when it is not. nofollow: a symbolic link is ELOOP, not followed. "
            "keep_try: what cannot be kept is reported, no failure. one_link: OSError (EMLINK) "
            "when "
            "the file has other hard links, which keep the old bytes. sync_directory: False leaves "
            "the sync of the directory to the caller: until then power loss may bring the old file "
            "back. lifetime: of the blocks, see File.set_lifetime(). dir: see append().\n\nRaises "
            "OSError with the "
            "FileReport as `report`: unless its step is 'sync_directory' or 'sync_device' the old "
            "file is as it was.")
        .def(
            "copy", &copy, py::arg("source"), py::arg("target"), py::kw_only(),
            py::arg("durability") = "full", py::arg("keep") = py::none(),
            py::arg("permissions") = 0666, py::arg("reflink") = false,
            py::arg("lifetime") = "unset", py::arg("dir") = py::none(),
            "Copies a file into one that replaces `target` as replace() does, sharing blocks where "
            "it can; reflink: that or OSError (EOPNOTSUPP). Returns a FileReport.")
        .def("begin_replace", &begin, py::arg("path"), py::kw_only(),
             py::arg("durability") = "full", py::arg("keep") = py::none(),
             py::arg("permissions") = 0666, py::arg("exclusive") = false,
             py::arg("existing") = false, py::arg("nofollow") = false, py::arg("keep_try") = false,
             py::arg("one_link") = false, py::arg("sync_directory") = true,
             py::arg("lifetime") = "unset", py::arg("dir") = py::none(),
             "Begins to replace a file piece by piece and returns the Replacement; options and "
             "errors "
             "as of replace(). OSError (EMFILE) above 1024 objects of the handle.")
        .def(
            "replace_many", &replace_many, py::arg("items"), py::kw_only(),
            py::arg("durability") = "full", py::arg("keep") = py::none(),
            py::arg("permissions") = 0666, py::arg("exclusive") = false,
            py::arg("existing") = false, py::arg("nofollow") = false, py::arg("keep_try") = false,
            py::arg("one_link") = false, py::arg("lifetime") = "unset", py::arg("dir") = py::none(),
            py::arg("stop") = false,
            "Replaces and removes up to 65536 files with one wait for the disk instead of many. "
            "items: pairs (path, data); data None removes the name, if it is there. Names change "
            "in "
            "the order of the items; each file is old or new as a whole, but together they are not "
            "all or nothing. Options as of replace(); stop: items behind the first failure are not "
            "done (ECANCELED). Returns a BatchResult for each.\n\nRaises what the first item "
            "failed "
            "with, with all the BatchResults as `results`.");
}

}  // namespace binding
