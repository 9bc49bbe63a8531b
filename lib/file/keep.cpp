// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Metadata of a replaced file. Any thread; owns nothing.
//
// The order matters: chown clears set-id bits and file capabilities, so owner comes first; an ACL
// sets the group bits of the mode to its mask, and chmod sets the mask to the group bits, so ACL
// and then mode agree; times come last, since nothing that follows may touch them.

#include "file/keep.hpp"

#include <cerrno>
#include <cstring>

#include "fsys/files.h"

namespace libfsys::files {
namespace {

constexpr const char *kAcl = "system.posix_acl_access";

// Refused, as opposed to failed: by permission, or because the file system has no such thing.
bool is_refusal(int code) {
    return code == -EPERM || code == -EACCES || code == -EOPNOTSUPP || code == -EINVAL ||
           code == -ENOSYS || code == -EOVERFLOW;
}

bool is_kept_attribute(const std::string &name) {
    // A digest of the old bytes would be wrong for the new ones; the kernel makes its own.
    if (name == "security.ima" || name == "security.evm") {
        return false;
    }
    return name.rfind("user.", 0) == 0 || name.rfind("trusted.", 0) == 0 ||
           name.rfind("security.", 0) == 0;
}

std::uint32_t little_endian(const std::string &bytes, std::size_t at, unsigned count) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < count; ++i) {
        value |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << 8 * i;
    }
    return value;
}

}  // namespace

KeepPolicy keep_policy(std::uint32_t keep, std::uint32_t flags, std::uint32_t otherwise) {
    KeepPolicy policy;
    policy.try_all = (flags & FSYS_REPLACE_KEEP_TRY) != 0;
    policy.try_owner = policy.try_all || keep == FSYS_KEEP_DEFAULT;
    policy.keep = keep == FSYS_KEEP_DEFAULT ? otherwise : keep & FSYS_KEEP_ALL;
    return policy;
}

// linux/posix_acl_xattr.h: a 32-bit version, 2, then entries of 16-bit tag, 16-bit permissions and
// 32-bit id, all little endian.
int group_bits_of_acl(const std::string &acl) {
    constexpr std::uint32_t kVersion = 2;
    constexpr std::uint32_t kGroupObj = 0x04;
    constexpr std::uint32_t kMask = 0x10;
    if (acl.size() < 4 || acl.size() % 8 != 4 || little_endian(acl, 0, 4) != kVersion) {
        return -1;
    }
    int group = -1;
    int mask = 7;
    for (std::size_t at = 4; at < acl.size(); at += 8) {
        const std::uint32_t tag = little_endian(acl, at, 2);
        const int bits = static_cast<int>(little_endian(acl, at + 2, 2) & 7);
        if (tag == kGroupObj) {
            group = bits;
        } else if (tag == kMask) {
            mask = bits;
        }
    }
    return group < 0 ? -1 : group & mask;
}

int keep_metadata(Syscalls &sys, const KeepPolicy &policy, int from, const struct stat &st, int to,
                  std::uint32_t &not_kept, bool &changed, std::string &what) {
    struct stat now {};
    what = "looking at the new file";
    int code = sys.fstat(to, &now);
    if (code < 0) {
        return code;
    }
    // 0 when the failure may be passed over, which is then noted.
    const auto pass = [&](int failure, std::uint32_t bit, bool tolerated) {
        if (failure < 0 && tolerated && is_refusal(failure)) {
            not_kept |= bit;
            return 0;
        }
        return failure;
    };

    mode_t mode = st.st_mode & 07777;
    if ((policy.keep & FSYS_KEEP_OWNER) != 0 &&
        (now.st_uid != st.st_uid || now.st_gid != st.st_gid)) {
        what = "the owner";
        changed = true;
        code = sys.set_owner(to, st.st_uid, st.st_gid);
        if (code < 0) {
            // The group alone, which its members may give. Set-id bits would now mean somebody
            // else.
            if (is_refusal(code) && now.st_gid != st.st_gid && policy.try_owner) {
                sys.set_owner(to, static_cast<uid_t>(-1), st.st_gid);
            }
            mode &= ~mode_t{06000};
            code = pass(code, FSYS_KEEP_OWNER, policy.try_owner);
            if (code < 0) {
                return code;
            }
        }
    } else if (now.st_uid != st.st_uid || now.st_gid != st.st_gid) {
        mode &= ~mode_t{06000};
    }

    std::string acl;
    const bool wants_acl = (policy.keep & FSYS_KEEP_ACL) != 0;
    if (wants_acl || (policy.keep & FSYS_KEEP_MODE) != 0) {
        what = "reading the access control list";
        code = sys.get_attribute(from, kAcl, acl);
        const bool has_acl = code == 0;
        if (code < 0 && code != -ENODATA && code != -EOPNOTSUPP) {
            code = pass(code, FSYS_KEEP_ACL, policy.try_all);
            if (code < 0) {
                return code;
            }
        }
        if (has_acl && !wants_acl) {
            const int group = group_bits_of_acl(acl);
            mode = (mode & ~mode_t{070}) | static_cast<mode_t>(group < 0 ? 0 : group << 3);
        } else if (has_acl) {
            what = "the access control list";
            changed = true;
            code = pass(sys.set_attribute(to, kAcl, acl), FSYS_KEEP_ACL, policy.try_all);
            if (code < 0) {
                return code;
            }
            if ((not_kept & FSYS_KEEP_ACL) != 0) {
                const int group = group_bits_of_acl(acl);
                mode = (mode & ~mode_t{070}) | static_cast<mode_t>(group < 0 ? 0 : group << 3);
            }
        } else if (wants_acl) {
            // The directory's default list may have given the new file one.
            what = "the access control list";
            code = sys.remove_attribute(to, kAcl);
            changed = changed || code == 0;
            if (code < 0 && code != -ENODATA && code != -EOPNOTSUPP) {
                code = pass(code, FSYS_KEEP_ACL, policy.try_all);
                if (code < 0) {
                    return code;
                }
            }
        }
    }

    if ((policy.keep & FSYS_KEEP_MODE) != 0) {
        what = "the mode";
        changed = true;
        code = pass(sys.set_mode(to, mode), FSYS_KEEP_MODE, policy.try_all);
        if (code < 0) {
            return code;
        }
    }

    if ((policy.keep & FSYS_KEEP_XATTRS) != 0) {
        std::vector<std::string> names;
        what = "listing the extended attributes";
        code = sys.list_attributes(from, names);
        if (code < 0 && code != -EOPNOTSUPP) {
            code = pass(code, FSYS_KEEP_XATTRS, policy.try_all);
            if (code < 0) {
                return code;
            }
        }
        for (const std::string &name : names) {
            if (!is_kept_attribute(name)) {
                continue;
            }
            what = "the extended attribute " + name;
            std::string value;
            code = sys.get_attribute(from, name.c_str(), value);
            if (code == -ENODATA) {
                continue;  // removed since it was listed
            }
            if (code == 0) {
                changed = true;
                code = sys.set_attribute(to, name.c_str(), value);
            }
            code = pass(code, FSYS_KEEP_XATTRS, policy.try_all);
            if (code < 0) {
                return code;
            }
        }
    }

    if ((policy.keep & FSYS_KEEP_TIMES) != 0) {
        what = "the times";
        changed = true;
        const timespec times[2] = {st.st_atim, st.st_mtim};
        code = pass(sys.set_times(to, times), FSYS_KEEP_TIMES, policy.try_all);
        if (code < 0) {
            return code;
        }
    }
    what.clear();
    return 0;
}

}  // namespace libfsys::files
