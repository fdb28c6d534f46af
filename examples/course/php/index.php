<?php
// The list of courses, and the form to say who one is.

require __DIR__ . '/.lib/site.php';

visit();
$rows = ask(database(), 'SELECT c.code, c.title, c.teacher, (SELECT COUNT(*) FROM members m WHERE m.code = c.code) FROM courses c ORDER BY c.code');
$items = '';
foreach ($rows as [$code, $title, $teacher, $count]) {
    $items .= '<tr><td>' . e($code) . '</td><td><a href="course?code=' . e($code) . '">' . e($title) . '</a></td><td>' . e($teacher) . '</td><td>' . e($count) . '</td></tr>';
}
$in = $_SESSION['name'] !== '' ? '' : '<form method="post" action="session.php">' . token_field() . name_field('') . ' <button name="do" value="in">Log in</button></form>';
send("<table><tr><th>Code</th><th>Course</th><th>Teacher</th><th>Members</th></tr>$items</table>$in");
