// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From two names on the command line to a CopyPlan; directories and symbolic links. Main thread
// only.
#include "copy_plan.hpp"

#include "copy_target.hpp"
#include "interrupt.hpp"
#include "units.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

namespace cli {

namespace {

std::optional<struct stat> facts_of(const std::string &path)
{
    struct stat facts {};
    if (stat(path.c_str(), &facts) == 0) {
        return facts;
    }
    if (errno == ENOENT || errno == ENOTDIR) {
        return std::nullopt;
    }
    throw Failure("cannot read the attributes of", path, -errno);
}

bool same(const struct stat &a, const struct stat &b)
{
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

struct Split {
    std::string directory;  // "." when the path has none
    std::string leaf;
};

Split split(std::string path)
{
    while (path.size() > 1 && path.back() == '/') {
        path.pop_back();
    }
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) {
        return {".", path};
    }
    return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

// The last component of what `path` names: of "dir/." and ".." the real name.
std::string own_name(const std::string &path)
{
    std::string leaf = split(path).leaf;
    if (leaf.empty() || leaf == "." || leaf == "..") {
        char *real = realpath(path.c_str(), nullptr);
        if (real == nullptr) {
            throw Failure("cannot resolve", path, -errno);
        }
        leaf = split(real).leaf;
        std::free(real);
    }
    return leaf;
}

Fd open_directory(const std::string &path)
{
    Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) {
        throw Failure("cannot open directory", path, -errno);
    }
    return fd;
}

// Is `directory`, or one above it, the directory `ancestor`?
bool lies_below(const std::string &directory, const struct stat &ancestor)
{
    Fd at = open_directory(directory);
    struct stat previous {};
    for (;;) {
        struct stat facts {};
        if (fstat(at.get(), &facts) != 0) {
            throw Failure("cannot read the attributes of", directory, -errno);
        }
        if (same(facts, ancestor)) {
            return true;
        }
        if (same(facts, previous)) {
            return false;  // the root is its own parent
        }
        previous = facts;
        at = Fd(openat(at.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!at.valid()) {
            return false;  // not ours to look at: then it is not ours to copy either
        }
    }
}

// A name that the copy would have to replace, found before anything is written.
void refuse_conflicts(const CopyOptions &options, const CopyPlan &plan)
{
    for (const Entry &entry : plan.tree.entries) {
        const std::string &name = plan.name_in_target(entry);
        const Parent parent(plan.target_root.get(), name);
        struct stat facts {};
        if (parent.fd() < 0 ||
            fstatat(parent.fd(), parent.leaf(), &facts, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        const bool was_directory = S_ISDIR(facts.st_mode);
        if (entry.kind == Entry::Kind::kDirectory) {
            if (!was_directory && !name.empty()) {
                throw Failure("will not replace", plan.target_path(entry))
                    .hint("which is not a directory, by the directory '" +
                          printable(plan.source_path(entry)) + "'");
            }
        } else if (was_directory) {
            throw Failure("will not replace the directory", plan.target_path(entry))
                .hint("by '" + printable(plan.source_path(entry)) + "'");
        } else if (!options.force) {
            throw Failure("exists already:", plan.target_path(entry))
                .hint("use --force to replace files");
        }
    }
}

}  // namespace

CopyPlan make_plan(const CopyOptions &options, Progress &progress)
{
    CopyPlan plan;
    const auto source = facts_of(options.source);
    if (!source) {
        throw Failure("cannot copy", options.source, -ENOENT);
    }
    plan.is_tree = S_ISDIR(source->st_mode);
    if (!plan.is_tree && !S_ISREG(source->st_mode)) {
        throw Failure("is neither a file nor a directory:", options.source);
    }

    std::string target = options.destination;
    auto existing = facts_of(target);
    if (existing && S_ISDIR(existing->st_mode)) {
        const std::string inside = join(target, own_name(options.source));
        auto inner = facts_of(inside);
        // Checking again what `copy SRC DST` made when there was no DST yet: DST is the copy.
        if (inner || !options.verify_only || !plan.is_tree) {
            target = inside;
            existing = inner;
        }
    }
    const Split place = split(target);
    if (!facts_of(place.directory)) {
        throw Failure("no such directory:", place.directory, -ENOENT);
    }
    if (existing && same(*existing, *source)) {
        throw Failure("is the same file as the source:", target);
    }
    if (plan.is_tree) {
        if (existing && !S_ISDIR(existing->st_mode)) {
            throw Failure("will not replace the file", target)
                .hint("by the directory '" + printable(options.source) + "'");
        }
        if (!options.verify_only && lies_below(place.directory, *source)) {
            throw Failure("will not copy a directory into itself:", target);
        }
        plan.source_root = open_directory(options.source);
        plan.source_display = options.source;
        plan.target_display = target;
        progress.phase("listing", 0, 0);
        plan.tree = list_tree(plan.source_root.get(), options.source, [&](std::size_t count) {
            if (const int signal = interrupted(); signal != 0) {
                throw Interrupted{signal, "nothing was copied"};
            }
            if (count % 256 == 0) {
                progress.note(fmt::format("listing {}: {} entries", printable(options.source),
                                          human_count(count)));
            }
        });
        progress.clear();
        if (existing || options.verify_only) {
            plan.target_root = open_directory(target);
            if (!options.verify_only) {
                refuse_conflicts(options, plan);
            }
        } else {
            // A dangling symbolic link makes this fail with EEXIST, as it should.
            if (mkdir(target.c_str(), 0700) != 0) {
                throw Failure("cannot create directory", target, -errno);
            }
            plan.created.insert("");
            plan.target_root = open_directory(target);
        }
    } else {
        if (!target.empty() && target.back() == '/') {
            throw Failure("no such directory:", target, -ENOENT);
        }
        const Split from = split(options.source);
        plan.source_root = open_directory(from.directory);
        // Messages say what was typed: "x", not "./x".
        plan.source_display = options.source == from.leaf ? "" : from.directory;
        plan.target_root = open_directory(place.directory);
        plan.target_display = target == place.leaf ? "" : place.directory;
        plan.target_name = place.leaf;
        plan.tree.entries.push_back(describe(*source, from.leaf));
        plan.tree.files = 1;
        plan.tree.bytes = plan.tree.entries[0].size;
        if (!options.verify_only) {
            refuse_conflicts(options, plan);
        }
    }
    return plan;
}

void make_directories(CopyPlan &plan)
{
    for (const Entry &entry : plan.tree.entries) {
        if (entry.kind != Entry::Kind::kDirectory || entry.name.empty()) {
            continue;
        }
        const Parent parent(plan.target_root.get(), entry.name);
        if (parent.fd() < 0) {
            throw Failure("cannot reach", plan.target_path(entry), parent.fd());
        }
        if (mkdirat(parent.fd(), parent.leaf(), 0700) == 0) {
            plan.created.insert(entry.name);
        } else if (errno != EEXIST) {
            throw Failure("cannot create directory", plan.target_path(entry), -errno);
        }
        if (const int signal = interrupted(); signal != 0) {
            throw Interrupted{signal, "directories were created, no file was copied"};
        }
    }
}

void make_symlinks(const CopyOptions &options, const CopyPlan &plan)
{
    for (const Entry &entry : plan.tree.entries) {
        if (entry.kind != Entry::Kind::kSymlink) {
            continue;
        }
        const std::string points_to =
            read_link(plan.source_root.get(), entry.name, plan.source_path(entry));
        const Parent parent(plan.target_root.get(), entry.name);
        const std::string path = plan.target_path(entry);
        if (parent.fd() < 0) {
            throw Failure("cannot reach", path, parent.fd());
        }
        if (symlinkat(points_to.c_str(), parent.fd(), parent.leaf()) != 0) {
            if (errno != EEXIST || !options.force) {
                throw Failure("cannot create symbolic link", path, -errno);
            }
            const std::string temporary = temporary_beside(parent.leaf());
            if (symlinkat(points_to.c_str(), parent.fd(), temporary.c_str()) != 0) {
                throw Failure("cannot create symbolic link beside", path, -errno);
            }
            if (renameat(parent.fd(), temporary.c_str(), parent.fd(), parent.leaf()) != 0) {
                const int code = -errno;
                unlinkat(parent.fd(), temporary.c_str(), 0);
                throw Failure("cannot replace", path, code);
            }
        }
        // Some file systems keep no times for links; that is no reason to fail.
        const timespec times[2] = {entry.accessed, entry.modified};
        utimensat(parent.fd(), parent.leaf(), times, AT_SYMLINK_NOFOLLOW);
    }
}

void finish_directories(const CopyPlan &plan)
{
    // Children first: a parent without write permission is no obstacle to what is done inside,
    // and its times are not touched again.
    for (auto entry = plan.tree.entries.rbegin(); entry != plan.tree.entries.rend(); ++entry) {
        if (entry->kind != Entry::Kind::kDirectory || !plan.created.contains(entry->name)) {
            continue;
        }
        const Fd fd(open_below(plan.target_root.get(), entry->name,
                               O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        if (!fd.valid()) {
            throw Failure("cannot open directory", plan.target_path(*entry), fd.get());
        }
        const timespec times[2] = {entry->accessed, entry->modified};
        if (fchmod(fd.get(), entry->mode) != 0 || futimens(fd.get(), times) != 0) {
            throw Failure("cannot set permissions and times of", plan.target_path(*entry), -errno);
        }
    }
}

void sync_directories(Engine &engine, const CopyPlan &plan)
{
    const auto sync = [&engine](int fd, const std::string &path) {
        const File directory = File::from_fd(engine, fd, path);
        if (const int code = fsys_sync(directory.get(), 0); code != 0) {
            throw Failure("cannot make directory durable", path, code);
        }
    };
    if (!plan.is_tree) {
        sync(plan.target_root.get(), plan.target_display.empty() ? "." : plan.target_display);
        return;
    }
    for (auto entry = plan.tree.entries.rbegin(); entry != plan.tree.entries.rend(); ++entry) {
        if (entry->kind == Entry::Kind::kDirectory) {
            const Fd fd(open_below(plan.target_root.get(), entry->name,
                                   O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
            if (!fd.valid()) {
                throw Failure("cannot open directory", plan.target_path(*entry), fd.get());
            }
            sync(fd.get(), plan.target_path(*entry));
        }
    }
    const std::string above = join(plan.target_display, "..");
    const Fd fd = open_directory(above);
    sync(fd.get(), above);
}

}  // namespace cli
