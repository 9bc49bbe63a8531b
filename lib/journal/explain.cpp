// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What lies at a position and why it is judged so; the lists of segments and pins of a journal that
// is not open here. The caller's thread; nothing is shared, nothing is written.

#include <algorithm>
#include <cerrno>

#include "journal/scene.hpp"

namespace libfsys::journal {
namespace {

using ull = unsigned long long;

// Walks over frames, over what lies between them, and over damage, from one segment to the next.
class Walk {
public:
    struct Item {
        std::size_t segment = 0;
        Lsn at = 0;
        Lsn next = 0;
        Step step = Step::end;
        bool bad_segment = false;  // its header does not check: all of it is one item
        FrameHeader header{};
        SegmentHeader of{};

        bool good() const { return step == Step::frame || step == Step::gap; }
        bool record() const { return step == Step::frame && header.type == kRecord; }
    };

    Walk(Scene &scene, std::size_t segment) : scene_(scene), index_(segment) {}

    // 1: an item; 0: nothing more; or a code.
    int next(Item &ret) {
        while (!entered_ || at_ >= shape_.limit) {
            index_ += entered_ ? 1 : 0;
            entered_ = false;
            if (index_ >= scene_.files.size()) {
                return 0;
            }
            const int code = enter();
            if (code < 0 && code != -EBADMSG) {
                return code;
            }
            if (code == -EBADMSG) {
                ret = Item{};
                ret.bad_segment = true;
                ret.step = Step::torn_header;
                ret.segment = index_;
                ret.at = scene_.files[index_].first_lsn;
                ret.next = ++index_ < scene_.files.size() ? scene_.files[index_].first_lsn
                                                          : ~std::uint64_t{0};
                return 1;
            }
        }
        FrameView frame;
        ret = Item{};
        ret.segment = index_;
        ret.of = shape_.header;
        ret.at = at_;
        ret.step = next_frame(bytes_, shape_, at_, frame);
        if (ret.step == Step::read_error) {
            return frame.code;
        }
        if (ret.good()) {
            ret.header = frame.header;
            ret.next = std::min(frame.next, shape_.limit);
        } else {
            ret.next = resume(at_);
        }
        at_ = ret.next;
        return 1;
    }

private:
    int enter() {
        const SegmentFile &file = scene_.files[index_];
        SegmentHeader header;
        int code = scene_.store.read_header(file.name(), header);
        if (code == 0 && (header.number != file.number || header.first_lsn != file.first_lsn)) {
            code = -EBADMSG;
        }
        if (code == 0) {
            code = bytes_.open(scene_.store, file.name(), !scene_.writer);
        }
        if (code < 0) {
            return code;
        }
        shape_ = SegmentShape::of(header);
        shape_.limit = scene_.limit(index_, header);
        if (scene_.writer) {
            bytes_.set_cap(shape_.offset(shape_.limit));
        }
        at_ = header.first_lsn;
        entered_ = true;
        return 0;
    }
    // The next good frame behind a bad position, or the segment's end.
    Lsn resume(Lsn bad_at) {
        FrameView frame;
        for (Lsn at = bad_at + kFrameAlign; at + kFrameHeader <= shape_.limit; at += kFrameAlign) {
            const Step step = next_frame(bytes_, shape_, at, frame);
            if (step == Step::frame) {
                return at;
            }
            if (step == Step::file_end || step == Step::read_error) {
                break;
            }
        }
        return shape_.limit;
    }

    Scene &scene_;
    std::size_t index_;
    bool entered_ = false;
    SegmentShape shape_;
    SegmentBytes bytes_;
    Lsn at_ = 0;
};

// Whether the segment behind the one of `of` is of the same journal. One that does not check is: its
// header was durable before it got its name, and has been damaged since.
bool succeeded(Scene &scene, const Walk::Item &of) {
    if (of.segment + 1 >= scene.files.size()) {
        return false;
    }
    SegmentHeader next;
    return scene.store.read_header(scene.files[of.segment + 1].name(), next) != 0 ||
           next.uuid == of.of.uuid;
}

// What shows that everything below `end`, in the segment of `of`, had been durable: `walk` stands
// behind it. The same three that recovery knows.
int prove(Scene &scene, Walk &walk, const Walk::Item &of, Lsn end, Finding &ret) {
    Walk::Item item;
    int code;
    while ((code = walk.next(item)) > 0 && item.segment == of.segment) {
        if (item.step == Step::frame && item.header.durable_lsn >= end) {
            ret.rule = Rule::frame;
            ret.proof_at = item.at;
            ret.proof_durable = item.header.durable_lsn;
            return 0;
        }
    }
    if (code < 0) {
        return code;
    }
    if (succeeded(scene, of)) {
        ret.rule = Rule::successor;
        ret.proof_at = ret.proof_durable = scene.files[of.segment + 1].first_lsn;
    } else if (scene.proven(of.of) >= end) {
        ret.rule = scene.writer ? Rule::writer : Rule::watermark;
        ret.proof_durable = scene.proven(of.of);
    }
    return 0;
}

std::string proof_text(const Finding &found) {
    switch (found.rule) {
    case Rule::frame:
        return say("the frame at LSN %llu proves that everything below %llu had been durable",
                   ull{found.proof_at}, ull{found.proof_durable});
    case Rule::successor:
        return say(
            "its segment has a successor, from LSN %llu on, which begins only when all "
            "before it is durable",
            ull{found.proof_at});
    case Rule::watermark:
        return say("the watermark proves that everything below %llu had been durable",
                   ull{found.proof_durable});
    case Rule::writer:
        return say("the writer calls everything below %llu durable", ull{found.proof_durable});
    default: return "nothing proves that it had been durable";
    }
}

void name(const Scene &scene, const Walk::Item &item, Lsn at, Finding &ret) {
    ret.segment = scene.files[item.segment].name();
    ret.epoch = item.of.epoch;
    ret.file_offset = kHeaderBlock + (at - scene.files[item.segment].first_lsn);
}

int judge_bad(Scene &scene, Walk &walk, const Walk::Item &item, Finding &ret) {
    ret.start = item.at;
    ret.end = item.next;
    if (item.bad_segment) {
        ret.state = Finding::damaged;
        ret.rule = Rule::structure;
        ret.text = say("the header block of segment %s does not check", ret.segment.c_str());
        return 0;
    }
    const int code = prove(scene, walk, item, item.at + 1, ret);
    ret.state = ret.rule == Rule::none ? Finding::torn : Finding::damaged;
    ret.text = say("at LSN %llu: %s; ", ull{item.at}, step_text(item.step)) + proof_text(ret);
    if (ret.state == Finding::torn) {
        ret.rule = Rule::unproved;
    }
    return code;
}

// Behind the end of the log, or below its start: nothing is to be read for it.
bool outside(const Scene &scene, Lsn at, Finding &ret) {
    const Tail &tail = scene.state.tail;
    if (at < scene.first) {
        ret.state = Finding::trimmed;
        ret.rule = Rule::trimmed;
        ret.end = scene.first;
        ret.text = say("trimmed: the log begins at LSN %llu", ull{scene.first});
        return true;
    }
    if (scene.damaged() && !scene.files.empty()) {
        return false;
    }
    if (at < scene.end && !scene.files.empty()) {
        return false;
    }
    ret.start = scene.end;
    ret.end = ~std::uint64_t{0};
    if (scene.state.verdict == Verdict::torn && at < tail.keep_to) {
        ret.end = tail.keep_to;
        ret.state = Finding::torn;
        ret.rule = scene.state.rule;
        ret.text = scene.state.text;
    } else if (scene.damaged()) {
        ret.state = Finding::damaged;
        ret.rule = scene.state.rule;
        ret.proof_durable = tail.proof_durable;
        ret.text = scene.state.text;
    } else {
        ret.state = Finding::end_of_log;
        ret.rule = scene.writer ? Rule::writer : Rule::end;
        ret.text = say(scene.writer ? "not there yet: the writer has written up to LSN %llu"
                                    : "nothing: the log ends at LSN %llu",
                       ull{scene.end});
    }
    return true;
}

int explain_once(Syscalls &sys, const std::string &path, Lsn at, Finding &ret, int root) {
    ret = Finding{};
    Scene scene(sys);
    int code = scene.look(path, root);
    ret.writer = scene.writer;
    if (code < 0 || outside(scene, at, ret)) {
        return code;
    }
    std::size_t index = 0;
    while (index + 1 < scene.files.size() && scene.files[index + 1].first_lsn <= at) {
        ++index;
    }
    // A record that runs into the segment began where its group did, or after.
    SegmentHeader header;
    if (scene.store.read_header(scene.files[index].name(), header) == 0 &&
        header.open_group_lsn != 0) {
        while (index > 0 && scene.files[index].first_lsn > header.open_group_lsn) {
            --index;
        }
    }
    Walk walk(scene, index);
    Walk::Item item;
    Lsn began = 0;  // where the record that the walk is in began; 0: in none, or its start is gone
    std::uint64_t length = 0;
    bool asked = false;  // its bytes hold the position
    while ((code = walk.next(item)) > 0) {
        const bool here = item.at <= at && at < item.next;
        if (!item.good()) {
            if (here || asked) {
                // Cut off in the middle, a record is no record: what ended it is the finding.
                name(scene, item, here ? at : item.at, ret);
                return judge_bad(scene, walk, item, ret);
            }
            began = 0;
            continue;
        }
        if (here) {
            asked = true;
            name(scene, item, at, ret);
        }
        if (!item.record()) {
            if (here) {
                ret.start = item.at;
                ret.end = item.next;
                ret.state = Finding::pad;
                break;
            }
            continue;
        }
        if ((item.header.flags & kFragmentRest) == 0) {
            began = item.at;
            length = 0;
        }
        length += item.header.length;
        if (asked && (item.header.flags & kFragmentMore) == 0) {
            ret.start = began != 0 ? began : item.at;
            ret.end = item.next;
            ret.length = length;
            ret.state = Finding::record;
            break;
        }
    }
    if (code <= 0) {
        if (code == 0) {
            // Behind every segment of a damaged journal.
            ret.start = at;
            ret.end = ~std::uint64_t{0};
            ret.state = Finding::end_of_log;
            ret.rule = Rule::none;
            ret.text =
                "no segment holds this position; the journal is damaged: " + scene.state.text;
        }
        return code;
    }
    code = prove(scene, walk, item, ret.end, ret);
    ret.text = say(ret.state == Finding::record ? "a whole record, LSN %llu, length %llu; "
                                                : "a pad, up to LSN %llu; ",
                   ull{ret.end}, ull{ret.length}) +
               proof_text(ret);
    if (scene.damaged() && ret.start >= scene.state.damage_lsn) {
        ret.text += say("; behind the damage at LSN %llu, so opening refuses the journal",
                        ull{scene.state.damage_lsn});
    }
    return code;
}

}  // namespace

int explain(Syscalls &sys, const std::string &path, Lsn at, Finding &ret, int root) {
    int code = -ENOENT;
    // A segment that a writer trims between the listing and the reading is looked for again.
    for (int round = 0; round < 5 && code == -ENOENT; ++round) {
        code = explain_once(sys, path, at, ret, root);
        if (!ret.writer) {
            break;
        }
    }
    return code;
}

int list_segments(Syscalls &sys, const std::string &path, std::vector<SegmentInfo> &ret, int root) {
    ret.clear();
    Scene scene(sys);
    int code = scene.look(path, root);
    for (std::size_t i = 0; code == 0 && i < scene.files.size(); ++i) {
        const SegmentFile &file = scene.files[i];
        SegmentHeader header;
        code = scene.store.read_header(file.name(), header);
        if (code == -ENOENT && scene.writer) {
            code = 0;  // trimmed meanwhile
            continue;
        }
        if (code == -EBADMSG) {
            return kCorrupt;
        }
        if (code == 0) {
            const bool sealed = i + 1 < scene.files.size();
            const Lsn end =
                sealed ? scene.files[i + 1].first_lsn : std::max(file.first_lsn, scene.end);
            ret.push_back({file.name().c_str(), file.number, header.epoch,
                           kHeaderBlock + (end - file.first_lsn), file.first_lsn, end, sealed});
        }
    }
    return code;
}

int list_pins(Syscalls &sys, const std::string &path, std::map<std::string, Pin> &ret, int root) {
    ret.clear();
    Store store(sys);
    Listing listing;
    int code = store.open_dir(path, false, root);
    if (code == 0) {
        code = store.list(listing);
    }
    if (code < 0 || (!listing.mark && listing.segments.empty())) {
        return code < 0 ? code : -ENOENT;
    }
    code = read_pins(store, ret);
    return code == -EBADMSG ? kCorrupt : code;
}

}  // namespace libfsys::journal
