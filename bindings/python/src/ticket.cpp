// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// fsys.Ticket: the place of a record in the log buffer, written by Python without a copy. Entered
// with the GIL. While a memoryview or array shows the memory, the ticket can neither be published
// nor abandoned and its journal and handle not be closed: what is written later would be in the
// middle of somebody else's record.

#include "journal.hpp"

namespace binding {

Ticket::Ticket(JournalPtr journal, const fsys_journal_ticket &ticket)
    : Exporter(ticket.length), journal_(std::move(journal)), ticket_(ticket) {
    data_ = ticket.memory;
    journal_->add(this);
    journal_->engine()->add(this);
}

Ticket::~Ticket() {
    if (!gone()) {
        fsys_journal_abandon(journal_->get(), &ticket_);
    }
    end();
}

void Ticket::end() {
    forget();
    journal_->remove(this);
    journal_->engine()->remove(this);
}

uint64_t Ticket::publish() {
    if (lsn_ != 0) {
        return lsn_;
    }
    if (gone()) {
        fail(journal_->closed() ? FSYS_E_CLOSED : FSYS_E_STALE, journal_->path());
    }
    check_free("the Ticket is exported: release its memoryviews and arrays before publishing");
    // Gone before the GIL is: nobody begins to write while the bytes are summed up.
    end();
    uint64_t lsn = 0;
    const int code =
        without_gil([&] { return fsys_journal_publish(journal_->get(), &ticket_, &lsn); });
    if (code < 0) {
        fsys_journal_abandon(journal_->get(), &ticket_);  // of a journal that failed
        fail(code, journal_->path());
    }
    return lsn_ = lsn;
}

void Ticket::abandon() {
    if (gone()) {
        return;
    }
    check_free("the Ticket is exported: release its memoryviews and arrays before abandoning it");
    end();
    const int code = fsys_journal_abandon(journal_->get(), &ticket_);
    if (code != FSYS_E_CLOSED && code != FSYS_E_STALE) {
        checked(code, journal_->path());
    }
}

namespace {

std::unique_ptr<Ticket> reserve(const JournalPtr &journal, size_t length, bool wait,
                                bool emergency) {
    const uint32_t flags =
        (wait ? 0 : FSYS_JOURNAL_NONBLOCK) | (emergency ? FSYS_JOURNAL_EMERGENCY : 0);
    fsys_journal_ticket ticket{};
    const int code =
        without_gil([&] { return fsys_journal_reserve(journal->get(), length, flags, &ticket); });
    checked(code, journal->path());
    return std::make_unique<Ticket>(journal, ticket);
}

}  // namespace

void bind_ticket(py::module_ &module) {
    py::class_<Ticket> ticket(
        module, "Ticket", py::buffer_protocol(),
        "The place of a record in the log buffer, see Journal.reserve(). Exports the buffer "
        "protocol, writable: memoryview(t), numpy.frombuffer(t, ...), File.read_into(t, ...). As a "
        "context manager it is published at the end, or abandoned after an exception. Dropping it "
        "abandons it.");
    ticket
        .def(
            "publish", &Ticket::publish,
            "Makes the bytes a record and returns its LSN; nothing is durable yet. Again: the same "
            "LSN.\n\nRaises BufferError while its memory is exported (the ticket stays open), "
            "Error (E_STALE: it was abandoned; E_CLOSED), PoisonedError.")
        .def("abandon", &Ticket::abandon,
             "Gives the place up. Nothing happens when the ticket has ended. BufferError while its "
             "memory is exported.")
        .def_property_readonly("lsn", &Ticket::lsn,
                               "The record's LSN; 0 while it is not published.")
        .def_property_readonly("open", &Ticket::open,
                               "Whether it is neither published nor abandoned.")
        .def("__len__", [](const Ticket &self) { return self.size(); })
        .def("__enter__", [](const py::object &self) { return self; })
        .def("__exit__", [](Ticket &self, const py::object &kind, const py::args &) {
            if (!kind.is_none()) {
                self.abandon();
            } else if (!self.gone()) {
                self.publish();
            }
        });
    Exporter::enable<Ticket>(ticket);

    auto journal = py::reinterpret_borrow<py::class_<Journal, JournalPtr>>(module.attr("Journal"));
    journal.def(
        "reserve", &reserve, py::arg("length"), py::kw_only(), py::arg("wait") = true,
        py::arg("emergency") = false,
        "Reserves the place of a record of `length` bytes as a Ticket, to be written without "
        "a copy. Until it is published or abandoned nothing behind it becomes durable: syncs "
        "of later records wait. wait, emergency: as of append().\n\nRaises OSError (EMSGSIZE: "
        "more than a quarter of the log buffer, half a segment or 1 MiB; ENOSPC; ETIMEDOUT), "
        "PoisonedError.");
}

}  // namespace binding
