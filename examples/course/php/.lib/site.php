<?php
// What the pages need: the database, the session, and HTML that can't be broken out of.

declare(strict_types=1);

const NAME_MAX = 40;

// What goes wrong is for the log; a visitor is told that something did.
set_exception_handler(function (Throwable $error): void {
    error_log((string) $error);
    send('<p>Something went wrong here, and is written down. <a href="">Again</a></p>', 'Sorry', 500);
});

/** The database. Values are always bound, never part of the text. */
function database(): PDO
{
    $url = $_SERVER['COURSE_DB'];
    [$scheme, $rest] = explode(':', $url, 2);
    // parse_url takes no URL without a host, which is how a socket on this machine is written.
    $parts = parse_url(str_replace(':///', '://localhost/', $url)) ?: [];
    parse_str($parts['query'] ?? '', $more);
    $name = 'dbname=' . ltrim($parts['path'] ?? '', '/');
    $at = fn (string $host, int $port) => "host=$host;port=" . ($parts['port'] ?? $port);
    $who = [rawurldecode($parts['user'] ?? ''), rawurldecode($parts['pass'] ?? '')];
    [$dsn, $user, $password] = match ($scheme) {
        'sqlite' => ["sqlite:$rest", null, null],
        'postgres', 'postgresql' => ['pgsql:' . $at($more['host'] ?? $parts['host'], 5432) . ";$name", ...$who],
        'mysql' => ['mysql:' . (isset($more['unix_socket']) ? "unix_socket=$more[unix_socket]" : $at($parts['host'], 3306)) . ";$name;charset=utf8mb4", ...$who],
    };
    $pdo = new PDO($dsn, $user, $password, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_EMULATE_PREPARES => false]);
    if ($scheme === 'sqlite') {
        $pdo->exec('PRAGMA busy_timeout = 10000');
    }
    return $pdo;
}

function ask(PDO $database, string $text, mixed ...$values): array
{
    $statement = $database->prepare($text);
    $statement->execute($values);
    return $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_NUM) : [];
}

/** Adds a member. False if there is one of this name: the database decides, since two may ask at the same time. */
function join_course(PDO $database, int $code, string $name): bool
{
    try {
        ask($database, 'INSERT INTO members (code, name, since) VALUES (?, ?, ?)', $code, $name, time());
        return true;
    } catch (PDOException $error) {
        // SQLSTATE 23: a constraint is violated.
        if (str_starts_with((string) $error->getCode(), '23')) {
            return false;
        }
        throw $error;
    }
}

/** Begins or goes on with the session: a cookie that nobody can guess, and what PHP keeps under it in a file. */
function visit(): void
{
    session_name('visit');
    session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Lax', 'use_strict_mode' => true]);
    $_SESSION['token'] ??= bin2hex(random_bytes(24));
    $_SESSION['name'] ??= '';
}

/** From now on this visitor has a name, under a new cookie: one that somebody else planted is worth nothing. */
function call_visitor(string $name): void
{
    if ($_SESSION['name'] === '') {
        session_regenerate_id(true);
    }
    $_SESSION['name'] = $name;
}

/** What the form sent under this name; nothing if it is no text. */
function sent(string $field): string
{
    return is_string($_POST[$field] ?? null) ? $_POST[$field] : '';
}

/** A form counts only with the secret of the session that it was shown to: other sites can't know it. */
function check_token(): void
{
    if (!hash_equals($_SESSION['token'], sent('token'))) {
        send('<p>This form is too old. <a href="">Again</a></p>', 'Too old', 403);
    }
}

function token_field(): string
{
    return '<input type="hidden" name="token" value="' . e($_SESSION['token']) . '">';
}

/** A name without control characters and needless spaces; nothing if it is not UTF-8. */
function name_of(string $text): string
{
    return trim(preg_replace('/[\p{C}\p{Z}]+/u', ' ', $text) ?? '');
}

/** What is wrong with a name, if anything. Counts characters, also where mbstring is missing. */
function fault_of(string $name): string
{
    return preg_match('/^.{1,' . NAME_MAX . '}$/us', $name) ? '' : 'A name has 1 to ' . NAME_MAX . ' characters.';
}

function name_field(string $value): string
{
    return '<label>Your name <input name="name" maxlength="' . NAME_MAX . '" required value="' . e($value) . '"></label>';
}

function e(mixed $value): string
{
    return htmlspecialchars((string) $value, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
}

/** After a form the browser is sent on, so that reloading does not send it again. */
function go(string $where): never
{
    header("Location: $where", true, 303);
    exit;
}

function send(string $body, string $title = 'Courses', int $status = 200, string $fault = ''): never
{
    http_response_code($status);
    header('Content-Type: text/html; charset=utf-8');
    header("Content-Security-Policy: default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
    header('X-Content-Type-Options: nosniff');
    $name = $_SESSION['name'] ?? '';
    $who = $name === '' ? '' : '<form method="post" action="session.php">' . token_field() . '<p id="who">You are <b>' . e($name) . '</b>. <button name="do" value="out">Log out</button></p></form>';
    $fault = $fault === '' ? '' : '<p class="fault" role="alert">' . e($fault) . '</p>';
    echo '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        '<title>', e($title), '</title><link rel="stylesheet" href="style.css"></head><body><main><h1>', e($title), '</h1>', $who, $fault, $body, '</main></body></html>';
    exit;
}
