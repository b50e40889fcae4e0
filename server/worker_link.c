#include "server/http.h"

#include "core/cleanup.h"
#include "core/ipc.h"
#include "core/json.h"

#include <errno.h>
#include <string.h>

/* Messages read in one turn, so that a busy worker does not keep clients waiting. */
enum { MESSAGES_PER_TURN = 256 };

void server_wake(void *link, const char *key)
{
    struct server_link *l = link;
    struct error err;
    /* A wake-up for everything is owed already; it covers this one, and would only fail again. */
    if (!l->wake_all && ipc_send(l->socket, IPC_WAKE, 0, key, -1, &err) < 0 && err.sys_errno != EPIPE) {
        l->wake_all = true;
    }
}

int link_ask(struct request *request)
{
    struct server *server = request->listener->server;
    uint64_t number = ++server->last_question;
    const char *text = request->reply.question != NULL ? request->reply.question : "{}";
    const int fd = request->reply.has_question_fd ? request->reply.question_fd : -1;
    if (ipc_send(server->setup->link->socket, IPC_QUESTION, number, text, fd, NULL) < 0) {
        return -1;
    }
    request->question = number;
    request->next = NULL;
    *server->asked_end = request;
    server->asked_end = &request->next;
    return 0;
}

void link_forget(struct request *request)
{
    struct server *server = request->listener->server;
    if (request->question == 0) {
        return;
    }
    for (struct request **link = &server->asked; *link != NULL; link = &(*link)->next) {
        if (*link == request) {
            *link = request->next;
            if (server->asked_end == &request->next) {
                server->asked_end = link;
            }
            break;
        }
    }
    request->question = 0;
    request->next = NULL;
}

/* An answer that comes after its deadline finds nobody and is dropped. */
static void take_answer(struct server *server, struct ipc_message *message)
{
    for (struct request *r = server->asked; r != NULL; r = r->next) {
        if (r->question == message->number) {
            AUTO_JSON *answer = NULL;
            if (json_parse(message->text, strlen(message->text), &answer, NULL) < 0) {
                answer = NULL;
            }
            hold_answered(r, answer, TAKE_FD(message->fd));
            return;
        }
    }
}

void link_read(struct server *server)
{
    struct waiter *changed = NULL;
    bool closed = false;
    for (int i = 0; i < MESSAGES_PER_TURN && !closed; i++) {
        struct ipc_message message = {.fd = -1};
        struct error err;
        if (ipc_receive(server->setup->link->socket, &message, &closed, &err) < 0) {
            closed = err.sys_errno != EAGAIN;
            break;
        }
        if (closed) {
            break;
        }
        if (message.type == IPC_CHANGED) {
            /* Taken out at once and looked at after the last message, so that each is looked at once. */
            changed = waiters_take_key(&server->waiters, message.text, changed);
        } else if (message.type == IPC_ANSWER) {
            take_answer(server, &message);
        }
        ipc_message_free(&message);
    }
    hold_changed(changed);
    server->worker_gone = server->worker_gone || closed;
}

void link_write(struct server *server)
{
    struct server_link *link = server->setup->link;
    if (link->wake_all) {
        link->wake_all = false;
        server_wake(link, "");
    }
}
