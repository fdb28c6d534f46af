<?php
// Logs in and out. There are no passwords here: a name is only remembered.

require __DIR__ . '/.lib/site.php';

visit();
if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    go('./');
}
check_token();
if (sent('do') === 'out') {
    $_SESSION = [];
    session_destroy();
    setcookie(session_name(), '', ['expires' => 1, 'path' => '/', 'httponly' => true, 'samesite' => 'Lax']);
    go('./');
}
$name = name_of(sent('name'));
$fault = fault_of($name);
if ($fault !== '') {
    send('<form method="post">' . token_field() . name_field($name) . ' <button name="do" value="in">Log in</button></form>', 'Log in', 422, $fault);
}
call_visitor($name);
go('./');
