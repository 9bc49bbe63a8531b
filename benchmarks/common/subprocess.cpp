// SPDX-License-Identifier: Apache-2.0 OR MIT
// posix_spawn with one pipe. The child gets no shell, so paths need no quoting.
#include "subprocess.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>

extern char **environ;

namespace bench {

Output run_program(const std::vector<std::string> &arguments) {
    Output output;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return output;

    std::vector<char *> words;
    for (const std::string &argument : arguments)
        words.push_back(const_cast<char *>(argument.c_str()));
    words.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    pid_t child = -1;
    const int code = posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);

    char chunk[16384];
    for (;;) {
        const ssize_t got = read(ends[0], chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        output.text.append(chunk, static_cast<std::size_t>(got));
    }
    close(ends[0]);
    int status = 0;
    if (code == 0 && waitpid(child, &status, 0) == child && WIFEXITED(status))
        output.status = WEXITSTATUS(status);
    return output;
}

}  // namespace bench
