{#- Fails for every row in which one of the columns is empty. -#}
{% test filled(model, columns) %}
select *
from {{ model }}
where {{ columns | join(' is null or ') }} is null
{% endtest %}
