// Generated from the OpenAPI document by `make client-types`. Do not edit.

import type { Pages } from "../pages.js";
import type {
  Answered,
  Body,
  CallOptions,
  Command,
  CommandOptions,
  ImportOptions,
  ItemOf,
  Operation,
  Query,
  Resource,
} from "../types.js";

/** The operations of the API by their names. */
export interface Api {
  /** Show what this process runs
   *
   * Version, commit, contexts, limits, the ids of its keys, and migrations. No text of a setting is shown. */
  about(options?: CallOptions): Promise<Answered<"about">>;
  audit: {
    /** Export the audit log as CSV
     *
     * The entries that match, newest first, at most 100,000. An apostrophe precedes a cell that a spreadsheet would
     * take for a formula. */
    export(query?: Query<"audit.export">, options?: CallOptions): Promise<Answered<"audit.export">>;
    /** List the audit log
     *
     * Newest first: every command and every sign-in, done or refused. Entries are kept for at least 400
     * days. The program never changes one, and deletes none earlier. */
    list(query?: Query<"audit.list">, options?: CallOptions): Pages<ItemOf<"audit.list">>;
  };
  auth: {
    /** Request a change of your e-mail address
     *
     * The new address gets a link, the old one a notice. The address changes when the token of the link
     * is sent to /auth/verify-email. */
    changeEmail(body: Body<"auth.changeEmail">, options?: CallOptions): Promise<Answered<"auth.changeEmail">>;
    /** Change your password
     *
     * Every other session ends, and you get a notice by mail. */
    changePassword: Command<[body: Body<"auth.changePassword">, options?: CommandOptions], Answered<"auth.changePassword">>;
    /** Request a link that resets the password
     *
     * The answer is the same whether or not the address has an account. A link works once, for 15 minutes;
     * an account gets at most 5 an hour. */
    forgotPassword(body: Body<"auth.forgotPassword">, options?: CallOptions): Promise<Answered<"auth.forgotPassword">>;
    /** Request another verification link
     *
     * The answer is the same whether or not an account waits for one. The new link replaces the earlier one. */
    resendVerification(body: Body<"auth.resendVerification">, options?: CallOptions): Promise<Answered<"auth.resendVerification">>;
    /** Set a new password with the token of a link
     *
     * Every session ends. The address is verified, and other registrations that wait for it are deleted. Two-step
     * sign-in stays as it is. */
    resetPassword(body: Body<"auth.resetPassword">, options?: CallOptions): Promise<Answered<"auth.resetPassword">>;
    sessions: {
      /** End one of your sessions */
      delete(sessionId: string, options?: CallOptions): Promise<Answered<"auth.sessions.delete">>;
      /** List your sessions */
      list(options?: CallOptions): Promise<Answered<"auth.sessions.list">>;
    };
    /** Turn two-step sign-in on or off */
    twoStep(body: Body<"auth.twoStep">, options?: CallOptions): Promise<Answered<"auth.twoStep">>;
    /** Validate an access token */
    validateToken(body: Body<"auth.validateToken">, options?: CallOptions): Promise<Answered<"auth.validateToken">>;
    /** Validate your access token */
    verify(options?: CallOptions): Promise<Answered<"auth.verify">>;
    /** Verify an e-mail address with the token of a link
     *
     * The address of a registration, or the new one requested at /auth/change-email. Where verification is required,
     * the link of a registration takes its password, too; a wrong one leaves the link valid. If it is lost, reset it:
     * that verifies the address as well. */
    verifyEmail(body: Body<"auth.verifyEmail">, options?: CallOptions): Promise<Answered<"auth.verifyEmail">>;
  };
  commands: {
    /** Pause a command
     *
     * Within five seconds no worker starts a message of this name; the rest of its lane goes on. Commands are accepted
     * and wait. No attempt is counted. A pause lasts until the command is resumed, whatever is restarted meanwhile. */
    pause(name: string, body: Body<"commands.pause">, options?: CallOptions): Promise<Answered<"commands.pause">>;
    /** Resume a command
     *
     * Within five seconds the workers continue with the waiting messages. */
    resume(name: string, options?: CallOptions): Promise<Answered<"commands.resume">>;
  };
  deadLetters: {
    /** Discard a dead letter
     *
     * Its operation stays `failed`. A discarded dead letter can still be replayed. */
    discard(deadLetterId: string, body: Body<"deadLetters.discard">, options?: CallOptions): Promise<Answered<"deadLetters.discard">>;
    /** Discard the open dead letters of a group
     *
     * All of them at once. Their operations stay `failed`. Each can still be replayed. */
    discardGroup(body: Body<"deadLetters.discardGroup">, options?: CallOptions): Promise<Answered<"deadLetters.discardGroup">>;
    /** Show a dead letter */
    get(deadLetterId: string, options?: CallOptions): Promise<Answered<"deadLetters.get">>;
    groups: {
      /** Group dead letters by task, reason and error
       *
       * The largest group first, at most 100 of them. */
      list(query?: Query<"deadLetters.groups.list">, options?: CallOptions): Promise<Answered<"deadLetters.groups.list">>;
    };
    /** List dead letters
     *
     * The most recent first. Dead letters are kept for 14 days. */
    list(query?: Query<"deadLetters.list">, options?: CallOptions): Pages<ItemOf<"deadLetters.list">>;
    /** Replay a dead letter
     *
     * Its message is delivered again within seconds, on behalf of whoever sent it first. It takes effect once, however
     * often it is replayed; an `expired` one may have taken effect before. Its operation may change from `failed` to
     * `succeeded`. If it fails again, it is open again and `times` is one higher. */
    replay(deadLetterId: string, options?: CallOptions): Promise<Answered<"deadLetters.replay">>;
    /** Replay the open dead letters of a group
     *
     * At most 1000 at once, the oldest first. Repeat until none is replayed. Messages that are `expired` are left out,
     * unless `reason` names them. */
    replayGroup(body: Body<"deadLetters.replayGroup">, options?: CallOptions): Promise<Answered<"deadLetters.replayGroup">>;
  };
  lanes: {
    /** Show the last hour of every lane
     *
     * By minute, from the newest 100,000 operations. A message counts when its outcome is stored. */
    history(options?: CallOptions): Promise<Answered<"lanes.history">>;
    /** List the lanes
     *
     * A lane is the queue of one kind of work of one context. The broker's numbers are at most a few seconds old. */
    list(options?: CallOptions): Promise<Answered<"lanes.list">>;
    /** Pause a lane
     *
     * Within five seconds no worker starts a message of the lane; started ones are finished. Commands
     * are accepted and wait. A pause lasts until the lane is resumed, whatever is restarted meanwhile. A paused lane
     * keeps its `since` and takes the new reason. */
    pause(name: string, body: Body<"lanes.pause">, options?: CallOptions): Promise<Answered<"lanes.pause">>;
    /** Resume a lane
     *
     * Within five seconds the workers continue with the waiting messages. A lane that is not paused stays as it is. */
    resume(name: string, options?: CallOptions): Promise<Answered<"lanes.resume">>;
  };
  operations: {
    /** Cancel an operation
     *
     * It ends as `failed` with `cancelled`, unless a worker has finished it. A worker that has started is not
     * interrupted: the first to commit decides. For the caller who sent the command, and for administrators. */
    cancel(handle: string, options?: CallOptions): Promise<Answered<"operations.cancel">>;
    /** Show an operation
     *
     * The handle is the `id` in the `202` answer. With `Prefer: wait=N` the answer waits for the outcome.
     * An operation of a signed-in caller is readable by that caller and by admins. It is kept for 30 days.
     * An operator's replay of a dead letter may change `failed` to `succeeded`. Nothing else changes an outcome. */
    get(handle: string, options?: CallOptions): Promise<Answered<"operations.get">>;
    /** List your operations
     *
     * Newest first: those that succeeded or failed in the last 30 days, and those that wait in the spool while
     * RabbitMQ is away. An operation that is still in a queue is found by its handle only. Administrators see
     * the operations of all users, and may filter by `actor` and `request_id`. */
    list(query?: Query<"operations.list">, options?: CallOptions): Pages<ItemOf<"operations.list">>;
    /** Show how fast commands end, and how
     *
     * By command: how many succeeded and failed, why, and the time from acceptance to outcome. */
    stats(query?: Query<"operations.stats">, options?: CallOptions): Promise<Answered<"operations.stats">>;
  };
  products: {
    /** Activate a product: everybody can see it */
    activate: Command<[productId: string, options?: CommandOptions], Resource<"products.update">>;
    /** Create a product */
    create: Command<[body: Body<"products.create">, options?: CommandOptions], Resource<"products.update">>;
    /** Deactivate a product: only administrators can see it */
    deactivate: Command<[productId: string, options?: CommandOptions], Resource<"products.update">>;
    /** Export all products as CSV
     *
     * An apostrophe precedes a cell that a spreadsheet would take for a formula. */
    export(options?: CallOptions): Promise<Answered<"products.export">>;
    /** Show a product */
    get(productId: string, options?: CallOptions): Promise<Resource<"products.update">>;
    /** Import many products
     *
     * A CSV file with a header, or one JSON object per line, with the fields of a new product. At most 10,000 rows
     * and 5 MiB. The operation reports its progress under `progress`, and each refused row with its line. */
    import: Command<[file: Blob, options?: ImportOptions], Answered<"products.import">>;
    /** List products */
    list(query?: Query<"products.list">, options?: CallOptions): Pages<ItemOf<"products.list">>;
    stock: {
      /** Add stock */
      add: Command<[productId: string, body: Body<"products.stock.add">, options?: CommandOptions], Resource<"products.update">>;
      movements: {
        /** List stock movements, newest first */
        list(productId: string, query?: Query<"products.stock.movements.list">, options?: CallOptions): Pages<ItemOf<"products.stock.movements.list">>;
      };
      /** Remove stock: the whole quantity or nothing */
      remove: Command<[productId: string, body: Body<"products.stock.remove">, options?: CommandOptions], Resource<"products.update">>;
    };
    /** Change the given fields of a product */
    update: Command<[productId: string, body: Body<"products.update">, options?: CommandOptions], Resource<"products.update">>;
  };
  schedule: {
    /** List what runs on schedule
     *
     * The commands that contexts have declared to run on schedule, and the housekeeping of the program, each with
     * its last run. */
    list(options?: CallOptions): Promise<Answered<"schedule.list">>;
  };
  /** Show what needs attention
   *
   * Commits that wait for a standby, missing and stuck workers, lanes that are full, paused, late or without
   * consumers, paused commands, failed scheduled runs, open dead letters, an outbox that is not published. */
  status(options?: CallOptions): Promise<Answered<"status">>;
  /** Find requests by an e-mail address
   *
   * The timeline of the 100 most recent requests whose messages contain the address, such as an anonymous
   * registration or forgotten password. The address is sent in the body: it must not appear in a log of addresses. */
  traces(body: Body<"traces">, options?: CallOptions): Promise<Answered<"traces">>;
  users: {
    /** Activate a user */
    activate: Command<[userId: string, options?: CommandOptions], Answered<"users.activate">>;
    /** Create a user
     *
     * With `REQUIRE_EMAIL_VERIFICATION=true` the answer is always 202, and the operation succeeds whether the
     * address was taken or not: only the mail to that address tells. Whoever holds the handle may read the operation;
     * its `resource` is for those who are signed in. */
    create: Command<[body: Body<"users.create">, options?: CommandOptions], Answered<"users.create"> | Operation>;
    /** Deactivate a user
     *
     * Every session of the user ends at once. */
    deactivate: Command<[userId: string, options?: CommandOptions], Answered<"users.deactivate">>;
    /** Delete a user */
    delete: Command<[userId: string, options?: CommandOptions], Answered<"users.delete">>;
    /** Show a user
     *
     * Users see themselves in full, and so do admins. Others see `id`, `name` and `created_at`. */
    get(userId: string, options?: CallOptions): Promise<Answered<"users.get">>;
    /** List users */
    list(query?: Query<"users.list">, options?: CallOptions): Pages<ItemOf<"users.list">>;
    me: {
      /** Delete your account
       *
       * Sign in or reauthenticate at most 10 minutes before. Every session ends, and the address can be registered
       * again. Whoever holds the operation's handle may read it. */
      delete: Command<[options?: CommandOptions], Answered<"users.me.delete">>;
      /** Show your profile */
      (options?: CallOptions): Promise<Resource<"users.me.update">>;
      /** Change your profile
       *
       * Only the fields present change; `null` clears an optional one. For `username`, sign in or reauthenticate at
       * most 10 minutes before. */
      update: Command<[body: Body<"users.me.update">, options?: CommandOptions], Resource<"users.me.update">>;
    };
    /** Set a user's roles
     *
     * Earlier access tokens are refused from the next request on. A refresh returns tokens with the new roles. */
    roles: Command<[userId: string, body: Body<"users.roles">, options?: CommandOptions], Answered<"users.roles">>;
    sessions: {
      /** End every session of a user
       *
       * The user may sign in again. */
      delete: Command<[userId: string, options?: CommandOptions], Answered<"users.sessions.delete">>;
      /** List the sessions of a user
       *
       * The active ones, the most recently used first. */
      list(userId: string, options?: CallOptions): Promise<Answered<"users.sessions.list">>;
    };
  };
  workers: {
    /** List the workers
     *
     * Each worker reports every two seconds. A missing one is listed for five more minutes: see `seen_at`. */
    list(options?: CallOptions): Promise<Answered<"workers.list">>;
  };
}

/** The codes of problems. A later release may have more. */
export type ProblemCode =
  | "bad_request"
  | "body_too_large"
  | "busy"
  | "cancelled"
  | "command_not_found"
  | "cross_site"
  | "dead_letter_not_found"
  | "dead_letter_settled"
  | "email_taken"
  | "forbidden"
  | "idempotency_key_reused"
  | "insufficient_stock"
  | "internal_error"
  | "invalid_code"
  | "invalid_credentials"
  | "invalid_link"
  | "invalid_refresh_token"
  | "invalid_token"
  | "lane_not_found"
  | "last_admin"
  | "not_found"
  | "not_replayable"
  | "operation_finished"
  | "product_not_found"
  | "reauthentication_required"
  | "session_not_found"
  | "sku_taken"
  | "stale_version"
  | "stock_too_large"
  | "too_many_attempts"
  | "too_many_requests"
  | "unavailable"
  | "unknown_after_restore"
  | "unsupported_media_type"
  | "user_not_found"
  | "username_taken"
  | "validation_failed"
  | "wrong_password";
