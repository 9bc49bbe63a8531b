// SPDX-License-Identifier: Apache-2.0 OR MIT
// The design that libfsys does not have: one thread owns the ring and executes everything, other
// threads push a node, ring the bell when the owner sleeps, and wait on a futex. Callers own their
// nodes (on the stack); the owner touches a node for the last time when it stores `done`.
#include "peers.hpp"

#include <liburing.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <thread>

namespace bench {

class OwnerRing {
public:
    OwnerRing() : bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        if (bell_ < 0)
            throw Failure(std::string("eventfd: ") + std::strerror(errno));
        thread_ = std::thread([this] { run(); });
    }
    ~OwnerRing() {
        stop_.store(true);
        ring_bell();
        thread_.join();
        close(bell_);
    }
    OwnerRing(const OwnerRing &) = delete;
    OwnerRing &operator=(const OwnerRing &) = delete;

    int transfer(Direction direction, int fd, char *buffer, std::uint64_t at) {
        Node node;
        node.direction = direction;
        node.fd = fd;
        node.buffer = buffer;
        node.offset = at;
        node.next = head_.load(std::memory_order_relaxed);
        // seq_cst pairs with the owner's store of parked_ and load of head_: one side sees the
        // other.
        while (!head_.compare_exchange_weak(node.next, &node, std::memory_order_seq_cst)) {
        }
        if (parked_.load(std::memory_order_seq_cst) && parked_.exchange(false))
            ring_bell();
        std::uint32_t expected = pending;
        node.state.compare_exchange_strong(expected, waiting, std::memory_order_acq_rel);
        while (node.state.load(std::memory_order_acquire) != done)
            syscall(SYS_futex, &node.state, FUTEX_WAIT_PRIVATE, waiting, nullptr, nullptr, 0);
        return node.result;
    }

private:
    enum : std::uint32_t { pending, waiting, done };

    struct Node {
        Node *next = nullptr;
        Direction direction = Direction::read;
        int fd = -1;
        char *buffer = nullptr;
        std::uint64_t offset = 0;
        int result = 0;
        std::atomic<std::uint32_t> state{pending};
    };

    void ring_bell() const {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = write(bell_, &one, sizeof one);
    }

    void watch_bell(io_uring &ring) const {
        io_uring_sqe *sqe = io_uring_get_sqe(&ring);
        io_uring_prep_poll_multishot(sqe, bell_, POLLIN);
        io_uring_sqe_set_data(sqe, nullptr);
    }

    static void finish(Node *node, int result) {
        node->result = result;
        if (node->state.exchange(done, std::memory_order_acq_rel) == waiting)
            syscall(SYS_futex, &node->state, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
    }

    void run() {
        io_uring ring{};
        io_uring_params params{};
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
        if (io_uring_queue_init_params(256, &ring, &params) < 0)
            std::terminate();  // the callers would wait for ever: a benchmark may end loudly
        io_uring_register_ring_fd(&ring);
        watch_bell(ring);
        while (!stop_.load()) {
            Node *list = head_.exchange(nullptr, std::memory_order_acquire);
            if (list == nullptr) {
                parked_.store(true, std::memory_order_seq_cst);
                if (head_.load(std::memory_order_seq_cst) == nullptr)
                    io_uring_submit_and_wait(&ring, 1);
                parked_.store(false, std::memory_order_seq_cst);
            } else {
                for (; list != nullptr; list = list->next)
                    prepare(ring, list);
                parked_.store(true, std::memory_order_seq_cst);
                const bool more = head_.load(std::memory_order_seq_cst) != nullptr;
                io_uring_submit_and_wait(&ring, more ? 0 : 1);
                parked_.store(false, std::memory_order_seq_cst);
            }
            reap(ring);
        }
        io_uring_queue_exit(&ring);
    }

    static void prepare(io_uring &ring, Node *node) {
        io_uring_sqe *sqe = io_uring_get_sqe(&ring);
        if (sqe == nullptr) {
            io_uring_submit(&ring);
            sqe = io_uring_get_sqe(&ring);
        }
        if (node->direction == Direction::read)
            io_uring_prep_read(sqe, node->fd, node->buffer, block_size, node->offset);
        else
            io_uring_prep_write(sqe, node->fd, node->buffer, block_size, node->offset);
        io_uring_sqe_set_data(sqe, node);
    }

    void reap(io_uring &ring) {
        io_uring_cqe *cqe = nullptr;
        while (io_uring_peek_cqe(&ring, &cqe) == 0) {
            auto *node = static_cast<Node *>(io_uring_cqe_get_data(cqe));
            const int result = cqe->res;
            const bool rearm = node == nullptr && (cqe->flags & IORING_CQE_F_MORE) == 0;
            io_uring_cqe_seen(&ring, cqe);
            if (node != nullptr)
                finish(node, result);
            else if (rearm)
                watch_bell(ring);
        }
    }

    int bell_;
    std::atomic<Node *> head_{nullptr};
    std::atomic<bool> parked_{false};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

namespace {

class OwnerWorker final : public Worker {
public:
    OwnerWorker(std::shared_ptr<OwnerRing> owner, const Target &target, const Seat &seat)
        : owner_(std::move(owner)),
          target_(target),
          offsets_(seat.seed, target.bytes),
          pages_(block_size) {}
    std::uint64_t step() override {
        if (owner_->transfer(target_.direction, target_.descriptor->get(), pages_.at(0),
                             offsets_.next()) != static_cast<int>(block_size)) [[unlikely]]
            throw Failure("owner ring: an op failed");
        return 1;
    }

private:
    std::shared_ptr<OwnerRing> owner_;
    Target target_;
    Offsets offsets_;
    Pages pages_;
};

}  // namespace

std::shared_ptr<OwnerRing> make_owner_ring() { return std::make_shared<OwnerRing>(); }

std::unique_ptr<Worker> owner_worker(std::shared_ptr<OwnerRing> owner, const Target &target,
                                     const Seat &seat) {
    return std::make_unique<OwnerWorker>(std::move(owner), target, seat);
}

}  // namespace bench
